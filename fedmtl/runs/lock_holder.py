"""The process that holds a run's folder: what its lock says, and whether it still runs."""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

LOCK = "fedmtl.lock"

RECORD = 1024
"""Bytes of the lock's file, from its begin, that name the process."""


def write(descriptor: int) -> None:
    """Name this process. The file is not truncated: what follows is written by others, at any time."""
    process = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _boot(),
        "began": _began(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    os.pwrite(descriptor, json.dumps(process).encode().ljust(RECORD), 0)
    os.fsync(descriptor)


def _boot() -> str:
    """A word for this start of the machine's kernel; "" where there is none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _began(pid: int) -> str:
    """Start time of a process, in the kernel's ticks: a pid that is used again began at another time."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def read(descriptor: int, wait: bool = False) -> dict[str, Any]:
    """The process that the file names; nothing where it names none, as while it is being written."""
    for _ in range(20 if wait else 1):
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(os.pread(descriptor, RECORD, 0))
            if isinstance(found, dict):
                return found
        time.sleep(0.01 if wait else 0)
    return {}


def refuse_foreign(folder: Path, holder: dict[str, Any], locked: bool) -> None:
    """Refuse a lock that this machine's kernel does not know: of another host, or on a disk without locks."""
    if not holder:
        return
    if holder.get("host") != socket.gethostname():
        raise ValueError(
            f"{refusal(folder, holder)} Whether it still runs cannot be seen from {socket.gethostname()!r}: if it "
            f"does not, delete {str(folder / LOCK)!r}."
        )
    pid, boot = holder.get("pid"), holder.get("boot")
    alive = (
        isinstance(pid, int)
        and boot == _boot()
        and _began(pid) not in ("", None)
        and _began(pid) == holder.get("began")
    )
    if alive and not locked:
        raise ValueError(refusal(folder, holder))


def refusal(folder: Path, holder: dict[str, Any]) -> str:
    """The message for a process that may not write the folder."""
    pid, host, since = (str(holder.get(key, "?"))[:80] for key in ("pid", "host", "since"))
    return (
        f"{str(folder)!r} is being written by another run: process {pid} on host {host!r}, since {since}. Wait until "
        "it ends, stop it, or give another folder (--out)."
    )
