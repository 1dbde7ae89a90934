"""Files that are whole or not there, and the folder for what can be made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``FEDMTL_CACHE``, else ``fedmtl`` in the user's cache folder. What is in it may be deleted at any time."""
    own = os.environ.get("FEDMTL_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedmtl"


def write_atomic(path: Path, data: bytes, *, fsync: bool = True) -> None:
    """Write a file wholly or not at all: temporary file, flush, rename, flush of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            if fsync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # also an interrupt: no half file is left behind
        temporary.unlink(missing_ok=True)
        raise
    if fsync:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
