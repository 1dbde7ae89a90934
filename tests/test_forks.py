"""Processes that are forked for commands are as those of a new interpreter: streams, codes, signals, folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.forks import start

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="without pidfds commands start anew")


def test_streams_code_folder_and_environment_are_its_own(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), sorted(os.environ), os.getsid(0) == os.getpid()); sys.exit('no')"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = start(code=code, cwd=tmp_path, env={"ONLY": "this"}, start_new_session=True, **pipes)
    assert child.communicate(timeout=60) == (f"{tmp_path} ['ONLY'] True\n", "no\n")
    assert child.returncode == 1


def test_it_ends_as_an_interpreter_does() -> None:
    """What waits for a thread, is registered for the end, and is not flushed yet; codes as they are, or of a byte."""
    code = "import atexit, sys, threading, time; atexit.register(lambda: sys.stdout.write('three'))\n"
    code += "def late():\n    time.sleep(0.2); sys.stdout.write('two ')\n"
    code += "threading.Thread(target=late).start(); sys.stdout.write('one '); sys.exit({end})"
    for end, expected in (("", 0), ("None", 0), ("7", 7), ("-1", 255), ("True", 1), ("'no'", 1)):
        child = start(code=code.format(end=end), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.communicate(timeout=60) == ("one two three", "no\n" if end == "'no'" else "")
        assert child.returncode == expected


def test_a_command_says_what_a_new_interpreter_says(tmp_path: Path) -> None:
    for arguments in (["list", "codecs"], ["run", "nope"], ["lst"]):
        child = start(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        command = [sys.executable, "-m", "fedmtl", *arguments]
        # Without a variable COLUMNS that GNU readline sets, which Python's own mapping does not have.
        fresh = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=60)
        same = tuple(text.replace("python -m fedmtl", "fedmtl") for text in (fresh.stdout, fresh.stderr))
        assert (child.communicate(timeout=60), child.returncode) == (same, fresh.returncode)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_end_it(number: signal.Signals) -> None:
    """Also where the tests ignore SIGINT, as in the background of a script."""
    child = start(code="import time; print('ready'); time.sleep(60)", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout and child.stdout.readline() == "ready\n" and child.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.01)
    child.send_signal(number)
    assert child.wait(60) == -number
