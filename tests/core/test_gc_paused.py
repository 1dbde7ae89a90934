"""Collections of garbage that are left out: while packages are imported, and when a command ends."""

import gc
import subprocess
import sys

import pytest

from fedmtl.core.gc_paused import gc_paused


@pytest.mark.parametrize("enabled", [True, False])
def test_a_pause_ends_as_it_began(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(KeyError), gc_paused():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_a_command_ends_without_a_collection_of_all() -> None:
    """A function registered before is called after, and finds all objects frozen; output is flushed."""
    program = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"
    program += "print(gc.get_freeze_count()); sys.argv = ['fedmtl', 'list', 'codecs']\n"
    program += "from fedmtl.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == "0" and any("Dense" in line for line in lines), done.stderr
    assert lines[-1] == "True"
