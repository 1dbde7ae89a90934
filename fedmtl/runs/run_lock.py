"""One process at a time writes a folder.

The lock is the kernel's (``flock``) on a file in the folder, so that it ends with its process, however that ends. The
file says which process holds it; it is read for the message, and where the kernel's lock does not reach: another host
that shares the disk. Line breaks after this record count the folders, from the innermost up, that processes have made
which were then refused: the holder removes them at its end, if nothing is in them.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from fedmtl.core.file_errors import LinkError, named_errors
from fedmtl.core.files import Folder
from fedmtl.runs.lock_holder import LOCK as LOCK
from fedmtl.runs.lock_holder import RECORD, read, refusal, refuse_foreign, write

_UNSUPPORTED = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)

_TURNS = 100
"""The most times that another process is let by between two steps."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Inside, no other process, and no other caller in this one, writes the folder.

    The folder is made where it is missing, and removed again when nothing was put into it, also where it was made by a
    process that was refused.

    Raises:
        ValueError: another process writes there; the message has its pid, host and start time.
        OSError: the folder cannot be made or written.
    """
    opened = Folder(folder)
    descriptor, made = _acquire(opened)
    try:
        yield
    finally:
        _clear(opened, max(made, _release(descriptor, opened)))


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
        _lock(descriptor, folder, fcntl.LOCK_SH)  # shared: two that look do not refuse each other
    finally:
        os.close(descriptor)


def _acquire(folder: Folder) -> tuple[int, int]:
    """The open, locked file, with this process written into it, and how many folders were made, the innermost first."""
    made = 0
    try:
        for _ in range(_TURNS):
            made = max(made, _make(folder.root))
            try:
                descriptor = folder.open(LOCK, os.O_RDWR | os.O_CREAT)
            except FileNotFoundError:  # a process that ended has removed the folder since
                continue
            except LinkError:
                raise
            except OSError as error:
                raise OSError(error.errno, _unwritable(folder.root, error)) from None
            try:
                if _take(descriptor, folder):
                    return descriptor, made
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise OSError(errno.EBUSY, _unwritable(folder.root, OSError(errno.EBUSY, "")))
    except BaseException:
        _clear(folder, made)
        raise


def _take(descriptor: int, folder: Folder) -> bool:
    """Lock the file, and write this process into it; not if its holder has removed it since it was opened."""
    try:
        supported = _lock(descriptor, folder.root, fcntl.LOCK_EX)
    except ValueError:
        if _is_at(descriptor, folder):
            raise
        return False
    if not _is_at(descriptor, folder):
        return False
    refuse_foreign(folder.root, read(descriptor), supported)
    with named_errors(folder.path(LOCK)):
        write(descriptor)
    return True


def _lock(descriptor: int, folder: Path, kind: int) -> bool:
    """Lock the file; whether this disk has locks.

    Raises:
        ValueError: another process holds it.
    """
    for pause in (0.01, 0.0):  # one that only looks has it for less
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
        time.sleep(pause)
    raise ValueError(refusal(folder, read(descriptor, wait=True)))


def _make(folder: Path) -> int:
    """Make the folder, and those above it: the number of levels, from the innermost, up to the last that was made."""
    made = 0
    try:
        missing = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
        for level, path in reversed(list(enumerate(missing, start=1))):
            try:
                path.mkdir()
                made = max(made, level)
            except FileExistsError:
                if _is_no_folder(path):
                    raise
            except FileNotFoundError:  # another process has removed the one above: the next turn makes it
                break
    except OSError as error:
        _clear(Folder(folder), made)
        raise type(error)(error.errno, _unwritable(folder, error)) from None
    return made


def _is_no_folder(path: Path) -> bool:
    """True where something else is there. By one look: between two, another process may make a folder or remove it."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        return path.is_symlink()  # to nothing; else it has been removed since


def _release(descriptor: int, folder: Folder) -> int:
    """Give the lock back: how many folders the processes that were refused have left to remove."""
    try:
        with contextlib.suppress(OSError):
            if _is_at(descriptor, folder):
                folder.remove(LOCK)
        # After the file's removal: no process writes into it any more that finds it in the folder.
        after = os.pread(descriptor, RECORD, RECORD)
        return len(after) - len(after.lstrip(b"\n"))
    finally:
        os.close(descriptor)


def _clear(folder: Folder, made: int) -> None:
    """Remove folders that were made, if nothing was put into them; where one is held, that is left to its holder."""
    for _ in range(_TURNS if made else 0):
        path, below = folder.root, LOCK
        try:
            for path in (folder.root, *folder.root.parents)[:made]:
                with contextlib.suppress(FileNotFoundError):
                    path.rmdir()
                below = path.name
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                return
        try:
            descriptor = folder.open(LOCK, os.O_RDWR)
        except FileNotFoundError:  # a process that is about to hold the folder, or has ended: it may not remove all
            if set(Folder(path).names()) - {below}:
                return
            continue
        except (OSError, LinkError):
            return
        try:
            os.pwrite(descriptor, b"\n" * made, RECORD)
            if _is_at(descriptor, folder):
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, folder: Folder) -> bool:
    """True where the open file is still the one in the folder."""
    try:
        found = os.stat(folder.path(LOCK), follow_symlinks=False)
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (found.st_ino, found.st_dev) == (opened.st_ino, opened.st_dev)


def _unwritable(folder: Path, error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"The run folder {str(folder)!r} cannot be written ({reason}); give another (--out)"
