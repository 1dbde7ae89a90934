"""Runs, or tunings, side by side: a process for each of some at a time.

Processes import while the caller still reads its presets, do one run after the other, and are started anew where one
ends. What they print goes to ``log.txt`` in the folder of the run. Runs have the bits that they have one by one: on
threads of their own, with the clients of Ray's workers in the same shares.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Pipe, wait
from types import TracebackType
from typing import IO, Any

from fedmtl.core.files import Folder
from fedmtl.runs.run_failure import Failure, write_failure
from fedmtl.runs.run_folder import claim, read_manifest
from fedmtl.studies.base import Event, Work
from fedmtl.studies.serial import run_task

LOG = "log.txt"

MOST_LOG = 2**20
"""Bytes of a log that are kept, from its end."""

PATIENCE_S = 1.5
"""Seconds in which a process that is asked to stop may close its files."""


class _Worker:
    """A process, the connection to it, and what it does."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        self.log: IO[bytes] = tempfile.TemporaryFile(buffering=0)
        try:
            self.process = _start(theirs.fileno(), self.log)
        finally:
            theirs.close()
        self.task: int | None = None
        self.round = 0

    def receive(self) -> tuple[str, Any] | None:
        """The next message; None when the process has ended."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def clear_log(self) -> None:
        self.log.seek(0)
        self.log.truncate()

    def read_log(self) -> bytes:
        end = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, end - MOST_LOG))
        return self.log.read()

    def ended(self) -> str:
        """The way in which the process ended."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:  # it has closed its connection, and goes on
            self.process.kill()
            code = self.process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def close(self) -> None:
        self.connection.close()
        self.log.close()


def _start(descriptor: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a process with the other end of its connection, and a file for what it prints."""
    begin = "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); from fedmtl.studies.worker import main; main()"
    command = [sys.executable, "-u", "-c", begin, str(descriptor), str(os.getpid()), json.dumps(sys.path)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[descriptor],
        env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},  # waiting threads sleep: there are more of them than cores
        start_new_session=True,
    )


class Pool:
    """Processes for runs side by side.

    Args:
        jobs: how many at a time.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._workers = [_Worker() for _ in range(jobs)]

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes, within ``PATIENCE_S`` or by force."""
        _end(self._workers)
        self._workers = []

    def run(
        self,
        tasks: Sequence[Work],
        on_event: Callable[[Event], None],
        do: Callable[[Any, Callable[[Event], None]], Failure | None] = run_task,
    ) -> list[Failure | None]:
        """Do all tasks; one that fails, or whose process ends, leaves the others alone.

        Args:
            tasks: begun in their order.
            on_event: called with what happens, in this process and thread.
            do: does one task in another process, and returns its failure; its events come back to ``on_event``.

        Returns:
            The failure of each task that an error or the end of its process ended, else None.

        Raises:
            ValueError: runs on GPUs or on a Ray cluster.
        """
        check_side_by_side(tasks)
        _end(self._workers[len(tasks) :])
        del self._workers[len(tasks) :]
        self._workers += [_Worker() for _ in range(min(self._jobs, len(tasks)) - len(self._workers))]
        waiting = deque(range(len(tasks)))
        failures: list[Failure | None] = [None] * len(tasks)
        for worker in self._workers:
            self._begin(worker, tasks, waiting, on_event, do)
        while busy := {worker.connection: worker for worker in self._workers if worker.task is not None}:
            for ready in wait(list(busy)):
                worker = busy[ready]  # pyright: ignore[reportArgumentType]
                index = worker.task
                assert index is not None
                message = worker.receive()
                if message is not None and message[0] == "event":
                    event: Event = message[1]
                    if event.progress is not None:
                        worker.round = min(event.progress.round, event.progress.rounds)
                    on_event(replace(event, task=index))
                    continue
                if message is None:
                    failures[index] = Failure("unfinished", worker.round, f"its process {worker.ended()}")
                    _note(tasks[index], failures[index])
                else:
                    failures[index] = message[1]
                _keep_log(tasks[index], worker.read_log())
                on_event(Event(index, "ended", failure=failures[index]))
                if worker.process.poll() is not None:
                    worker = self._replace(worker) if waiting else worker
                self._begin(worker, tasks, waiting, on_event, do)
        return failures

    def _begin(
        self,
        worker: _Worker,
        tasks: Sequence[Work],
        waiting: deque[int],
        on_event: Callable[[Event], None],
        do: Callable[..., Failure | None],
    ) -> None:
        """Send a process its next task, if there is one."""
        worker.task, worker.round = None, 0
        if not waiting:
            return
        worker.task = waiting.popleft()
        worker.clear_log()
        on_event(Event(worker.task, "began"))
        with suppress(OSError):  # it ended while it was idle; the end of its connection is read next
            worker.connection.send_bytes(_request(tasks[worker.task], do))

    def _replace(self, worker: _Worker) -> _Worker:
        worker.close()
        fresh = _Worker()
        self._workers[self._workers.index(worker)] = fresh
        return fresh


def check_side_by_side(tasks: Iterable[Work]) -> None:
    """Refuse runs whose processes would compete for GPUs or for a cluster.

    Raises:
        ValueError: it names the run and the way out.
    """
    for task in tasks:
        if exclusive := task.experiment.runtime.traits.exclusive:
            raise ValueError(
                f"Runs side by side share this machine's cores, got {task.name} with {exclusive}; leave out --jobs, "
                "and each run has the GPUs or the cluster to itself."
            )


def _request(task: Work, do: Callable[..., Failure | None]) -> bytes:
    import cloudpickle

    # The paths are read first: the rest may need modules that are found there.
    return cloudpickle.dumps((list(sys.path), cloudpickle.dumps((do, task))))


def _note(task: Work, failure: Failure | None) -> None:
    """Leave the failure in the folder of a run whose process could not."""
    with suppress(OSError, ValueError):
        if failure is not None and task.is_run and _began(task):
            write_failure(task.folder, failure)


def _keep_log(task: Work, log: bytes) -> None:
    """Leave what a task's process printed in the task's folder; an empty log takes the place of an older."""
    with suppress(OSError, ValueError):
        if _began(task) and (log or Folder(task.folder).exists(LOG)):
            claim(task.folder, [LOG])
            Folder(task.folder).write(LOG, log, fsync=False)


def _began(task: Work) -> bool:
    """True where the folder is one of such a task."""
    manifest = read_manifest(task.folder)
    return manifest is not None and manifest.run == task.is_run


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        with suppress(OSError):
            worker.process.terminate()
    deadline = time.monotonic() + PATIENCE_S
    for worker in workers:
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        worker.close()
