"""Errors of files: the path and the way out in one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""Errors of a disk and not of a path."""


class LinkError(ValueError):
    """A link, a second name or something other than a file, where a folder's own file belongs."""


WAYS_OUT = {
    errno.EISDIR: "give a file, and not a folder",
    errno.ENOTDIR: "a part of the path is a file; give a folder that is one",
    errno.ENOENT: "look at how the path is written, and make the folder that is missing",
    errno.EACCES: "give a place that this user may read and write",
    errno.EPERM: "give a place that this user may read and write",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "a link leads in a circle; give the file itself",
}
"""Errors of the operating system that users can mend."""


def way_out(error: OSError) -> str:
    """Advice on an error, after "; "; empty where there is none."""
    way = WAYS_OUT.get(error.errno or 0)
    return f"; {way}" if way else ""


@contextmanager
def named_errors(path: str | Path) -> Iterator[None]:
    """Inside, errors of the operating system name the file, and those of a full disk the way on."""
    try:
        yield
    except OSError as error:
        if error.errno is None or getattr(error, "named", False):
            raise
        text = f"{error.strerror}: {str(path)!r}{way_out(error)}"
        if error.errno in FULL:
            text += "; all that was saved before is whole: make room, then go on (--resume)"
        named = OSError(error.errno, text)
        named.named = True  # pyright: ignore[reportAttributeAccessIssue]
        raise named from None
