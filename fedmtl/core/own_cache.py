"""Folders of the cache that belong to this user alone: code and numbers are read from them.

A compiled function is loaded into the process, and a measured number decides how it computes: neither is taken from a
file that another user could have put there.
"""

import errno
import os
import stat
from pathlib import Path

from fedmtl.core.files import cache_folder


def own_cache(part: str) -> Path:
    """A folder below ``cache_folder``, made where it is not there, that only this user may enter.

    Raises:
        OSError: a folder of another user, a link, or one that cannot be made.
    """
    path = cache_folder() / part
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OSError(
            errno.EPERM,
            "The cache folder belongs to another user or is a link; set FEDMTL_CACHE to a folder of your own",
            str(path),
        )
    if found.st_mode & 0o077:
        path.chmod(0o700)
    return path


def is_own(path: Path, most_bytes: int) -> bool:
    """True if a file is there, is this user's, can be written by no other, and is no link and no longer than that."""
    try:
        found = path.lstat()
    except OSError:
        return False
    is_mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return is_mine and found.st_size <= most_bytes
