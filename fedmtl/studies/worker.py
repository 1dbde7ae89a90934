"""A process that does runs of a comparison, or its tunings, one after the other, as its parent sends them.

It imports torch once, does the work of Ray's workers by itself, and ends with its parent.
"""

import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from fedmtl.core.gc_paused import gc_paused, skip_last_collection

PR_SET_PDEATHSIG = 1
"""Linux: a signal for this process when the thread that started it ends."""


def main() -> None:
    """Serve the connection whose descriptor is the first argument; the second is the parent's process."""
    descriptor, parent = map(int, sys.argv[1:3])
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    signal.signal(signal.SIGTERM, _stop)
    connection = Connection(descriptor)
    skip_last_collection()
    with gc_paused():
        import fedmtl.run_experiment
        import fedmtl.runtime.local  # noqa: F401
    while True:
        try:
            request = connection.recv_bytes()
        except (EOFError, OSError):
            return
        connection.send(("ended", _done(request, connection)))


def _done(request: bytes, connection: Connection) -> Any:
    """The failure of a run or a tuning, or None."""
    from fedmtl.runs.run_failure import failure_of

    try:
        paths, content = cloudpickle.loads(request)
        sys.path += [path for path in paths if path not in sys.path]
        do, work = cloudpickle.loads(content)
    except Exception as error:  # of whatever type the import of a user's module raises
        return failure_of(error, 0)
    return do(work, lambda event: connection.send(("event", event)))


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, however that ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _stop(number: int, frame: Any) -> None:
    """Leave at once, through the cleanup of the run: files are closed, and drafts removed."""
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)
