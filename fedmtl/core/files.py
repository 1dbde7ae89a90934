"""Files that are whole or absent, opened without following links, and the folder for what can be made again.

A run's folder may come from a stranger. Whatever is opened inside one passes through ``Folder.open``: no component
below the folder's own path may be a link, a file has one name only, and it is a regular file.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from fedmtl.core.file_errors import LinkError, named_errors

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.tmp-[0-9a-f]{32}")


def cache_folder() -> Path:
    """``FEDMTL_CACHE``, else ``fedmtl`` in the user's cache folder. What is in it may be deleted at any time."""
    own = os.environ.get("FEDMTL_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedmtl"


def write_all(descriptor: int, data: Any) -> None:
    """Write all bytes of a buffer, of which the system may take a part at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def reserve(descriptor: int, start: int, length: int) -> None:
    """Take the space of a part of a file now, where it is one error; a page that is mapped would end the process.

    Nothing on systems and disks that cannot.
    """
    if length and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, start, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


@dataclass(frozen=True)
class Folder:
    """A folder, with the operations on files inside that follow no link.

    Names are relative, with "/" between parts. Every operation raises ``LinkError`` for a link or a second name of a
    file on the way, and ``OSError`` that names the file for all else.
    """

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name

    @contextmanager
    def _parent(self, name: str) -> Iterator[tuple[int, str]]:
        """The open folder that directly holds a name, and the last part of the name."""
        parts = PurePosixPath(name).parts
        if not parts or any(part in ("..", "/") for part in parts):
            raise ValueError(f"A file inside {str(self.root)!r} has a relative name without '..', got {name!r}.")
        with named_errors(self.path(name)):
            at = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for part in parts[:-1]:
                    try:
                        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                    except OSError:
                        self._refuse_link(part, at, name)
                        raise
                    os.close(at)
                    at = below
                yield at, parts[-1]
            finally:
                os.close(at)

    def _refuse_link(self, part: str, at: int, name: str) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(part, dir_fd=at, follow_symlinks=False).st_mode):
                raise LinkError(_refusal(self.path(name), f"{part!r} is a link"))

    def open(self, name: str, flags: int, mode: int = 0o666) -> int:
        """A descriptor of a regular file with one name.

        Args:
            name: inside the folder.
            flags: as for ``os.open``.
            mode: of a file that this makes.
        """
        with self._parent(name) as (at, last):
            try:
                # Without O_NONBLOCK, a named pipe in the file's place would be waited for.
                opened = os.open(
                    last, (flags & ~os.O_TRUNC) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=at
                )
            except OSError:
                self._refuse_link(last, at, name)
                raise
            try:
                found = os.fstat(opened)
                if not stat.S_ISREG(found.st_mode):
                    raise LinkError(_refusal(self.path(name), "it is no regular file"))
                if found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
                    raise LinkError(_refusal(self.path(name), "the file has another name elsewhere (a hard link)"))
                if flags & os.O_TRUNC:
                    os.ftruncate(opened, 0)
            except BaseException:
                os.close(opened)
                raise
        return opened

    def exists(self, name: str) -> bool:
        """True where a regular file is there.

        Raises:
            LinkError: something else is there.
        """
        try:
            os.close(self.open(name, os.O_RDONLY))
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        with named_errors(self.path(name)), os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            return file.read()

    def write(self, name: str, data: bytes, *, fsync: bool = True, mode: int = 0o666) -> None:
        """Write a file wholly or not at all: temporary file, flush, rename, flush of the folder."""
        self.write_pieces(name, [data], fsync=fsync, mode=mode)

    def write_pieces(self, name: str, pieces: Iterable[bytes], *, fsync: bool = True, mode: int = 0o666) -> None:
        """``write`` for a content that is never in memory at once."""
        with self._parent(name) as (at, last):
            temporary = f".{last}.tmp-{uuid4().hex}"
            try:
                new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with os.fdopen(os.open(temporary, new, mode, dir_fd=at), "wb") as file:
                    for piece in pieces:
                        file.write(piece)
                    if fsync:
                        file.flush()
                        os.fsync(file.fileno())
                os.replace(temporary, last, src_dir_fd=at, dst_dir_fd=at)
            except BaseException:  # also an interrupt: no half file is left behind
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=at)
                raise
            if fsync:
                os.fsync(at)

    def append(self, name: str, data: bytes) -> int:
        """Append to a file, on the disk before this returns; its new length."""
        with named_errors(self.path(name)):
            with os.fdopen(self.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                return file.tell()

    def length(self, name: str) -> int:
        """Bytes of a file, 0 where there is none."""
        try:
            opened = self.open(name, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        try:
            return os.fstat(opened).st_size
        finally:
            os.close(opened)

    def truncate(self, name: str, length: int) -> None:
        """Give a file a length; it is made where there is none."""
        opened = self.open(name, os.O_RDWR | os.O_CREAT)
        try:
            with named_errors(self.path(name)):
                os.ftruncate(opened, length)
        finally:
            os.close(opened)

    def make(self, name: str, mode: int = 0o777) -> Path:
        """A folder inside, and those above it."""
        parts = PurePosixPath(name).parts
        for end in range(1, len(parts) + 1):
            inner = "/".join(parts[:end])
            with self._parent(inner) as (at, last):
                try:
                    os.mkdir(last, mode, dir_fd=at)
                except FileExistsError:
                    if not stat.S_ISDIR(os.stat(last, dir_fd=at, follow_symlinks=False).st_mode):
                        raise LinkError(_refusal(self.path(inner), "it is no folder")) from None
        return self.path(name)

    def names(self, name: str = "") -> list[str]:
        """Names in the folder, or in one inside it, ascending; none where there is no such folder."""
        try:
            if not name:
                return sorted(os.listdir(self.root))
            with self._parent(name) as (at, last):
                try:
                    below = os.open(last, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                except OSError:
                    self._refuse_link(last, at, name)
                    raise
                try:
                    return sorted(os.listdir(below))
                finally:
                    os.close(below)
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Delete a file (a link itself, not what it leads to), or an empty folder; nothing where there is neither."""
        with suppress(FileNotFoundError), self._parent(name) as (at, last):
            if stat.S_ISDIR(os.stat(last, dir_fd=at, follow_symlinks=False).st_mode):
                os.rmdir(last, dir_fd=at)
            else:
                os.unlink(last, dir_fd=at)


def _refusal(path: Path, why: str) -> str:
    return f"{str(path)!r}: {why}; links inside this folder are not followed. Delete it, or give another folder."


def temporary_of(name: str) -> str | None:
    """The file of which a name is the temporary one; None for other names."""
    found = _TEMPORARY.fullmatch(name)
    return None if found is None else found["name"]


def write_atomic(path: Path, data: bytes, *, fsync: bool = True) -> None:
    """Write a file wholly or not at all. A link in its place is replaced, never followed."""
    Folder(path.parent).write(path.name, data, fsync=fsync)
