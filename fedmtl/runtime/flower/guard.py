"""A guard for the ClientApp's process on a device, which turns a signal or a hang into an error reply.

Flower 1.41's SuperNode waits for a reply without a time limit and takes no other message meanwhile. A process that ends
by SIGTERM ends its task *without* a reply, and one that hangs keeps its task alive by heartbeats from a thread: either
way the SuperNode is online and pulls nothing, in this run and in the next. Only a process that dies at once is noticed,
``TOKEN_S`` after its last heartbeat. So here

1. SIGTERM, SIGINT and the deadline raise ``Ended`` in the main thread, which becomes an error reply;
2. a process that Python cannot interrupt, inside native code, is ended ``GRACE_S`` later by a thread that needs no lock
   of Python's, and its missing heartbeats are noticed;
3. a signal while modules are imported is an error of the import, to which Flower replies; one after the reply is ready
   does nothing, as the process ends then.

This file imports nothing but the standard library: it is imported first, and a signal before that makes the node wait
forever.
"""

import atexit
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flwr.app import Context, Message

log = logging.getLogger("fedmtl")

START_S = 30.0
"""Most seconds until a process begins its task; then Flower revokes its token: error 401 from then on."""

TOKEN_S = 60.0
"""Seconds without a heartbeat after which Flower gives up a task."""

GRACE_S = 20.0
"""Seconds after which a process that should have ended is ended from outside Python."""

DEADLINE = "deadline"
"""Key of the node's configuration: most seconds of a message."""


class Ended(BaseException):
    """The handling of a message is ended by a signal or a deadline. Not an ``Exception``: no engine may go on."""


class EndedEarly(Exception):
    """A signal before the message was handled."""


class _State:
    """State of this process."""

    installed = False
    handling = False
    done = False


_state = _State()


def install() -> None:
    """Guard this process, if it is Flower's for one message; anywhere else nothing changes."""
    if Path(sys.argv[0]).name != "flwr-clientapp" or threading.current_thread() is not threading.main_thread():
        return
    _state.installed = True
    atexit.register(gc.freeze)  # the process ends without a last collection: see core/gc_paused.py
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, _end)
    took = seconds_since_start()
    if took > START_S / 2:
        log.warning(
            "the app's process took %.0f s to start, and Flower revokes its token after %.0f s; beyond that the "
            "node fails with error 401: start fewer nodes on this machine, or give it a faster disk",
            took,
            START_S,
        )
    else:
        log.info("the app's process took %.1f s to start; Flower allows %.0f s", took, START_S)


def loaded() -> None:
    """Log the seconds until the app's modules were imported, torch's among them."""
    if _state.installed:
        log.info("the app's modules were imported %.1f s after its process began", seconds_since_start())


def seconds_since_start() -> float:
    """Return the seconds since this process began; 0 if the system does not report them."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def _end(number: int, frame: FrameType | None) -> None:
    if _state.done:
        return
    faulthandler.dump_traceback_later(GRACE_S, exit=True)
    why = "its deadline" if number == signal.SIGALRM else signal.Signals(number).name
    raise Ended(why) if _state.handling else EndedEarly(why)


@contextmanager
def guarded(message: "Message", context: "Context", round_seconds: Callable[[], float]) -> Iterator[None]:
    """End the handling of a message at its deadline, or at a signal.

    Args:
        message: with its time to live.
        context: whose node configuration may have a deadline, ``deadline=600``.
        round_seconds: returns the experiment's, after which no server waits for the reply.

    Raises:
        Ended: at the deadline, or at a signal.
    """
    if not _state.installed:
        yield
        return
    begin = time.monotonic()
    _state.handling = True
    try:
        _arm(seconds_left(message, context.node_config))
        try:
            left = round_seconds() - (time.monotonic() - begin)
        except Exception:  # an experiment that cannot be read is the message's error, not the guard's
            left = float("inf")
        if left < signal.getitimer(signal.ITIMER_REAL)[0]:
            _arm(left)
        yield
    finally:
        _state.handling, _state.done = False, True
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def _arm(seconds: float) -> None:
    seconds = min(max(seconds, 0.001), 10.0**8)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True)


def seconds_left(message: "Message", node_config: Any) -> float:
    """Return the smaller one of the node's own deadline and the message's time to live.

    Raises:
        ValueError: a deadline that is not a positive number.
    """
    metadata = message.metadata
    left = metadata.created_at + metadata.ttl - time.time()
    if DEADLINE in node_config:
        try:
            own = float(node_config[DEADLINE])
        except (TypeError, ValueError):
            own = 0.0
        if not own > 0:
            raise ValueError(
                f"node-config {DEADLINE}={node_config[DEADLINE]!r}: a positive number of seconds, such as 600."
            )
        left = min(left, own)
    return left
