"""Ray's start in a background thread, and a fast exit while it is starting or after it was lost.

This file imports nothing heavy, so that Ray starts while the driver still imports torch.
"""

import atexit
import logging
import os
import signal
import sys
import threading
from typing import Any

from fedmtl.runtime.ray import cluster


def start_in_background() -> None:
    """Start a cluster on this machine in the background; later calls of ``connect`` and the exit wait for it."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # as Ray does in a main thread
    started = threading.Event()
    threading.Thread(target=_start, args=(started,), name="ray", daemon=True).start()
    started.wait()
    atexit.register(_settle)


def _start(started: threading.Event) -> None:
    with cluster.connecting:
        started.set()
        try:
            cluster.connect("")
        except Exception:  # the next ``connect`` tries again, and raises
            logging.getLogger("fedmtl").debug("Ray did not start in the background", exc_info=True)
    threading.Event().wait()  # Linux ends Ray's processes with the thread that started them


def _settle() -> None:
    """Disconnect before Python ends: a thread inside Ray at that time would crash the process."""
    with cluster.connecting:
        cluster.disconnect()


def exit_fast(code: Any) -> None:
    """End the process at once if Ray is still starting or is lost, without the wait for either.

    Ray's processes end with it, and no other resource is open then.
    """
    if cluster.connecting.acquire(blocking=False):
        cluster.connecting.release()
        if not cluster.failure():
            return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
