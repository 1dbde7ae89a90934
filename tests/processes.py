"""Processes of this machine that a test has started, however far down."""

import os
import signal
import time
from pathlib import Path

_started: dict[tuple[str, int], str] = {}
"""(mark, process) -> when it began, of those that were found once: one that ends gives its environment back before its
files, and so before their locks."""


def alive(mark: str) -> list[str]:
    """Commands of processes with the mark in their environment, now or when this was called before."""
    return list(_marked(mark).values())


def kill_all(mark: str, seconds: float = 30) -> None:
    """SIGKILL all processes with the mark in their environment, and those that they start meanwhile."""
    deadline = time.monotonic() + seconds
    while found := _marked(mark):
        assert time.monotonic() < deadline, found
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def _marked(mark: str) -> dict[int, str]:
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            pid, fields = int(process.name), (process / "stat").read_text().rsplit(")", 1)[1].split()
            state, began = fields[0], fields[19]
            if state == "Z" and len(os.listdir(process / "task")) == 1:  # no thread is left that holds a file
                continue
            if _started.get((mark, pid)) == began or mark.encode() in (process / "environ").read_bytes():
                _started[mark, pid], found[pid] = began, (process / "cmdline").read_text()
        except OSError:
            pass
    return found


def shown(terminal: int) -> str:
    """All that is written to a pseudo-terminal until its other side is closed; it is closed then."""
    seen = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(terminal)
    return seen.decode()
