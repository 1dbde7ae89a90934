"""Ctrl-C and SIGTERM of a command: one line that says what is kept, and the exit code 128 plus the signal's number.

The first signal raises ``Stopped`` in the main thread, so that files are closed and drafts are removed. A command that
has not ended after ``GRACE_S`` seconds, or gets a second signal, ends at once, also inside a long native call.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

GRACE_S = 3.0

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asks the command to stop. No ``Exception``, and nothing that Click handles by itself."""


class _Note:
    """Text of the line."""

    reached = ""
    hint = ""
    clean_up = ""
    layout: Callable[[str], str] = str
    number = 0
    raised = False
    written = False


_note = _Note()
_lock = threading.Lock()


def reached(text: str) -> None:
    """Note how far the command is, such as "after round 3"."""
    _note.reached = text


def hint(text: str) -> None:
    """Note how to go on."""
    _note.hint = text


def clean_up(text: str) -> None:
    """Note what brings the terminal back, such as "\\x1b[?25h"; nothing with an empty text."""
    _note.clean_up = text


def line() -> str:
    """The line for a command that stops now."""
    return f"stopped{' ' if _note.reached else ''}{_note.reached}{'; ' if _note.hint else ''}{_note.hint}"


def install(layout: Callable[[str], str] = str) -> None:
    """Handle the signals from now on; one that is ignored, as behind ``nohup``, stays so.

    Args:
        layout: breaks the line where standard error is a terminal that has no room for it.
    """
    _note.layout = layout
    if threading.current_thread() is not threading.main_thread():
        return
    mine = [n for n in SIGNALS if signal.getsignal(n) in (signal.SIG_DFL, signal.default_int_handler)]
    if not mine:
        return
    sys.excepthook = _last(sys.excepthook)
    sys.unraisablehook = _last(sys.unraisablehook)
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    for number in mine:
        signal.signal(number, _stop)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(receiver,), name="stopping", daemon=True).start()


def _last(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook for ``Stopped`` that nothing catches, such as one raised inside a finaliser, and for what follows from it.

    Native code may swallow it in the middle of an import, which then fails otherwise.
    """

    def call(*arguments: Any) -> None:
        if _note.raised and threading.current_thread() is threading.main_thread():
            leave()
        hook(*arguments)

    return call


def _stop(number: int, frame: FrameType | None) -> None:
    _note.number = _note.number or number
    if not _note.raised:
        _note.raised = True
        raise Stopped


def _watch(receiver: int) -> None:
    """End the process after the time of grace, or at the second signal."""
    seen = 0
    while True:
        ready, _, _ = select.select([receiver], [], [], GRACE_S if seen else None)
        numbers = [number for number in os.read(receiver, 64) if number in SIGNALS] if ready else []
        _note.number = _note.number or (numbers[0] if numbers else 0)
        seen += len(numbers)
        if seen > 1 or (seen and not ready):
            leave()


def stopping() -> bool:
    """True where a signal has come."""
    return bool(_note.number)


def leave() -> None:
    """Write the line, and end the process without waiting for anything."""
    with _lock:
        if not _note.written:
            _note.written = True
            with suppress(OSError, ValueError):  # closed, or a pipe without a reader
                if threading.current_thread() is threading.main_thread():
                    sys.stdout.flush()
                if _note.clean_up:
                    os.write(1, _note.clean_up.encode())
                os.write(2, f"{_note.layout(line())}\n".encode(errors="replace"))
        os._exit(128 + _note.number)
