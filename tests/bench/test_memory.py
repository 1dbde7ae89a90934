"""Memory of a process and its descendants."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fedmtl.bench.memory import PeakMemory, family, resident
from fedmtl.bench.record import process_age
from tests import forks

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="reads /proc")

SIZE = 64_000_000
PROGRAM = f"import sys; block = b'x' * {SIZE}; print(flush=True); sys.stdin.read()"


@pytest.fixture
def child() -> Iterator[int]:
    """A process that holds SIZE bytes."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def test_descendants_are_family(child: int) -> None:
    assert family(os.getpid())[0] == os.getpid() and child in family(os.getpid())
    assert family(child) == [child]


def test_what_a_child_holds_is_counted(child: int) -> None:
    """A bare interpreter is well below 64 MB, so that 64 to 128 MB are the block and it."""
    pss, rss = resident([child])
    assert SIZE < pss <= rss < 2 * SIZE


def test_a_process_that_has_ended_has_nothing() -> None:
    assert resident([2**22 + 1]) == (0, 0)


def test_the_peak_is_what_was_held_inside() -> None:
    with PeakMemory() as memory:
        before = memory.pss
        block = b"x" * SIZE
        memory._look()
        del block
    assert before + 0.9 * SIZE < memory.pss <= memory.rss


def test_the_age_is_of_this_process() -> None:
    """A new process that sleeps for 0.3 s is older than that, and younger than this one."""
    program = "import time; time.sleep(.3); from fedmtl.bench.record import process_age; print(process_age())"
    done = forks.run(code=program)
    assert done.returncode == 0, done.stderr
    assert 0.3 < float(done.stdout) < process_age()
