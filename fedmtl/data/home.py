"""The data home: the folder of data sets that do not come with fedmtl, and the check of a file in it.

``FEDMTL_DATA`` names the folder, else it is ``data`` in the cache folder. A loader gets a path from ``find_file``
alone, so that figures come from the bytes that they were made from.
"""

import hashlib
import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fedmtl.core.files import cache_folder
from fedmtl.data.source import DataFile, DataSource


def data_home() -> Path:
    """``FEDMTL_DATA``, else ``data`` in the cache folder."""
    named = os.environ.get("FEDMTL_DATA")
    return Path(named) if named else cache_folder() / "data"


def find_file(source: DataSource, path: str) -> Path:
    """A file of a data set, in the data home or as a system's package has it, with the right checksum.

    Args:
        source: of the data set.
        path: of the file, as ``source.files`` or ``source.excerpt`` has it.

    Raises:
        FileNotFoundError: it is at neither place; the message has the file, the command that gets it and the origin.
        ValueError: its bytes are others.
    """
    file = next(file for file in (*source.files, *source.excerpt) if file.path == path)
    place = data_home() / file.path
    if place.is_file():
        check_file(source, file, place)
        return place
    if file.copy is not None and Path(file.copy.path).is_file():
        check_file(source, file.copy, Path(file.copy.path))
        return Path(file.copy.path)
    get = f"`fedmtl data fetch {source.name}`" + ("" if file.address else " says how to place it")
    raise FileNotFoundError(
        f"Data set {source.name} needs {file.path}, and there is no {place}: {get}, FEDMTL_DATA names another data "
        f"home. Its source is {source.address}."
    )


def check_file(source: DataSource, file: DataFile, place: Path) -> None:
    """Refuse a file with other bytes.

    Raises:
        ValueError: it names the file, both checksums and the way out.
    """
    found = _difference(file, place)
    if found:
        raise ValueError(
            f"{place} is another file than data set {source.name} reads: {found}. Delete it and run `fedmtl data fetch "
            f"{source.name}`; its source is {source.address}."
        )


def is_right(file: DataFile, place: Path) -> bool:
    """True where a file is there and has the checksum."""
    return place.is_file() and not _difference(file, place)


def is_there(source: DataSource) -> bool:
    """True where all files, or the excerpt, are there with the right size; checksums are compared by ``find_file``."""
    if source.package and find_spec(source.package) is None:
        return False
    return has_files(source.files) or bool(source.excerpt) and has_files(source.excerpt)


def has_files(files: tuple[DataFile, ...]) -> bool:
    """True where all files, or copies of them, are there with the right size."""
    return all(_has_size(file, data_home() / file.path) or _has_copy(file) for file in files)


def by_hand(source: DataSource, file: DataFile) -> str:
    """The way to a file that has no address, in one line."""
    return (
        f"{file.path} of data set {source.name} is a re-packed copy without an address. Take the original from "
        f"{source.address} (licence: {source.licence}) and place the file at {data_home() / file.path}: "
        f"{source.packing} "
        f"It has {file.size:,} bytes, SHA-256 {file.sha256}. A folder or a server that has it is given with --from."
    )


@lru_cache(maxsize=64)
def _digest(place: Path, size: int, changed: int) -> str:
    """SHA-256 of a file, which is read again once its size or time of change is another."""
    with open(place, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _difference(file: DataFile, place: Path) -> str:
    """The first difference between a file and what is expected; empty where there is none."""
    found = place.stat()
    if found.st_size != file.size:
        return f"it has {found.st_size:,} bytes, expected {file.size:,}"
    sha256 = _digest(place, found.st_size, found.st_mtime_ns)
    return "" if sha256 == file.sha256 else f"its SHA-256 is {sha256}, expected {file.sha256}"


def _has_size(file: DataFile, place: Path) -> bool:
    return place.is_file() and place.stat().st_size == file.size


def _has_copy(file: DataFile) -> bool:
    return file.copy is not None and _has_size(file.copy, Path(file.copy.path))
