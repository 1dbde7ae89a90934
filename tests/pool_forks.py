"""Processes of pools (``fedmtl.studies.Pool``) in forks of one that has imported torch and fedmtl.

For pools that a process of tests has, and for those of programs that ``tests.forks`` starts, where they ask for it:
other commands that tests start have processes with a true start.
"""

import itertools
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from fedmtl.core.files import Folder
from fedmtl.runs.checkpoint import CHECKPOINT
from tests import forks


def start(descriptor: int, log: IO[bytes]) -> Any:
    """Start a process as ``fedmtl.studies.pool`` does; its parent is the process that forks, which ends with the tests.

    It does not end at once with a command that gets SIGKILL, as a process with a true start does: ``end_all`` ends it.
    """
    code = (
        "import os, sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        f"sys.argv = ['-c', '{descriptor}', str(os.getppid())]\n"
        "from tests import pool_forks; pool_forks.end_in_a_run()\n"
        "from fedmtl.studies.worker import main; main()"
    )
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    child = forks.start(
        code=code, env=environment, stdout=log, stderr=log, start_new_session=True, pass_fds=[descriptor]
    )
    if STARTED in os.environ:
        with open(os.environ[STARTED], "a") as file:
            file.write(f"{child.pid}\n")
    return child


STARTED = "FEDMTL_TEST_WORKERS"
"""Variable of the environment: a file for the numbers of the processes that are started."""


KILLED = "FEDMTL_TEST_KILLED"
"""Variable of the environment: the end of a run's folder and a number; in that run the process ends itself by SIGKILL,
as it has written so many checkpoints."""


def end_in_a_run() -> None:
    """Do what ``KILLED`` says, in a process of a pool."""
    if KILLED not in os.environ:
        return
    (run, number), write, written = os.environ[KILLED].rsplit(":", 1), Folder.write, itertools.count(1)

    def writing(folder: Folder, name: str, data: bytes, **options: Any) -> None:
        write(folder, name, data, **options)
        if name == CHECKPOINT and str(folder.root).endswith(run) and next(written) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    patch.object(Folder, "write", writing).start()


def end_all(started: Path, seconds: float = 60) -> None:
    """End the processes in a file of ``STARTED``, whose command has got SIGKILL, as the kernel ends those with a true
    start."""
    deadline = time.monotonic() + seconds
    for pid in map(int, started.read_text().split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():  # until the process that forks has seen its end
            assert time.monotonic() < deadline
            time.sleep(0.01)


def on_forks(code: str) -> str:
    """A program, for tests.forks, whose pools have such processes."""
    if not hasattr(os, "pidfd_open"):
        return code
    return f"from fedmtl.studies import pool\nfrom tests import pool_forks\npool._start = pool_forks.start\n{code}"


def program(arguments: list[str]) -> str:
    """A program that is ``fedmtl`` with these arguments, with such processes."""
    return on_forks(f"import sys, fedmtl.__main__\nsys.argv = {['fedmtl', *arguments]!r}\nfedmtl.__main__.main()")
