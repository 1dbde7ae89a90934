"""One process at a time writes a folder.

The lock is the kernel's (``flock``) on a file in the folder, so that it ends with its process, however that ends. The
file says which process holds it; it is read for the message, and where the kernel's lock does not reach: another host
that shares the disk.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedmtl.files import Folder, LinkError, named_errors

LOCK = "fedmtl.lock"

_UNSUPPORTED = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Inside, no other process, and no other caller in this one, writes the folder.

    The folder is made where it is missing, and removed again when nothing was put into it.

    Raises:
        ValueError: another process writes there; the message has its pid, host and start time.
        OSError: the folder cannot be made or written.
    """
    made = _make(folder)
    descriptor = -1
    try:
        descriptor = _acquire(Folder(folder))
        yield
    finally:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                Folder(folder).remove(LOCK)
            os.close(descriptor)
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def refuse_if_held(folder: Path) -> None:
    """Look at the lock and leave it: for commands that would find out only after seconds of imports.

    Raises:
        ValueError: another process writes there.
    """
    if not folder.is_dir():
        return
    try:
        descriptor = Folder(folder).open(LOCK, os.O_RDWR)
    except OSError:  # no lock, or no permission, which ``hold`` reports
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise ValueError(_refusal(folder, _read(descriptor, wait=True))) from None
    finally:
        os.close(descriptor)


def _make(folder: Path) -> list[Path]:
    """Make the folder, and return those that were missing, the innermost first."""
    missing = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        missing.append(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(error.errno, _unwritable(folder, error)) from None
    return missing


def _acquire(folder: Folder) -> int:
    """The open, locked file, with this process written into it."""
    while True:
        try:
            descriptor = folder.open(LOCK, os.O_RDWR | os.O_CREAT)
        except LinkError:
            raise
        except OSError as error:
            raise OSError(error.errno, _unwritable(folder.root, error)) from None
        try:
            supported = True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                supported = error.errno in _UNSUPPORTED
                if not supported:
                    raise ValueError(_refusal(folder.root, _read(descriptor, wait=True))) from None
            if not _is_at(descriptor, folder):  # its holder has ended, and removed it, since it was opened
                os.close(descriptor)
                continue
            _refuse_foreign(folder.root, _read(descriptor), supported)
            with named_errors(folder.path(LOCK)):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
                os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _is_at(descriptor: int, folder: Folder) -> bool:
    """Whether the open file is still the one in the folder."""
    try:
        found = os.stat(folder.path(LOCK), follow_symlinks=False)
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (found.st_ino, found.st_dev) == (opened.st_ino, opened.st_dev)


def _this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _boot(),
        "began": _began(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _boot() -> str:
    """A word for this start of the machine's kernel; "" where there is none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _began(pid: int) -> str:
    """When a process began, in the kernel's ticks: a pid that is used again began at another time."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _read(descriptor: int, wait: bool = False) -> dict[str, Any]:
    """The process that the file names; nothing where it names none, as while it is being written."""
    for _ in range(20 if wait else 1):
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(os.pread(descriptor, 4096, 0))
            if isinstance(found, dict):
                return found
        time.sleep(0.01 if wait else 0)
    return {}


def _refuse_foreign(folder: Path, holder: dict[str, Any], locked: bool) -> None:
    """Refuse a lock that this machine's kernel does not know: of another host, or on a disk without locks."""
    if not holder:
        return
    if holder.get("host") != socket.gethostname():
        raise ValueError(
            f"{_refusal(folder, holder)} Whether it still runs cannot be seen from {socket.gethostname()!r}: if it "
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
        raise ValueError(_refusal(folder, holder))


def _refusal(folder: Path, holder: dict[str, Any]) -> str:
    pid, host, since = (str(holder.get(key, "?"))[:80] for key in ("pid", "host", "since"))
    return (
        f"{str(folder)!r} is being written by another run: process {pid} on host {host!r}, since {since}. Wait until "
        "it ends, stop it, or give another folder (--out)."
    )


def _unwritable(folder: Path, error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"The run folder {str(folder)!r} cannot be written ({reason}); give another (--out)"
