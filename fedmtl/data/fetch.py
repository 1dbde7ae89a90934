"""Download of a data set's files: whole and with the right checksum, or not at all."""

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from fedmtl.core.files import Folder, temporary_of
from fedmtl.data.home import by_hand, data_home, is_right
from fedmtl.data.source import DataFile, DataSource

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""

PIECE = 1 << 17
"""Bytes that are read at a time."""

SCHEMES = ("http", "https", "file")


def fetch_file(source: DataSource, file: DataFile, origin: str = "", timeout: float = TIMEOUT) -> bool:
    """Put a file into the data home; a file there with another checksum is replaced.

    The bytes go to a temporary name beside, which becomes the file's own once its length and checksum are right.

    Args:
        source: of the data set.
        file: one of its files.
        origin: a folder, or the address of one, that has the files under their paths in a data home; empty: the
            file's own address.
        timeout: seconds without a byte after which the download is given up.

    Returns:
        True if it was fetched, False if the right file was there.

    Raises:
        ValueError: a file without an address, or an origin that is neither a folder nor an address.
        RuntimeError: an address that cannot be reached, an error of the server, a download that ends early, or bytes
            with another checksum.
        OSError: a data home that cannot be written.
    """
    home = data_home()
    if is_right(file, home / file.path) or (file.copy is not None and is_right(file.copy, Path(file.copy.path))):
        return False
    url = _url(origin, file.path) if origin else file.address
    if not url:
        raise ValueError(by_hand(source, file))
    with _opened(source, file, url, timeout) as response:
        _store(source, file, url, response, home)
    return True


def _store(source: DataSource, file: DataFile, url: str, response: Any, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    folder, below = Folder(home), str(PurePosixPath(file.path).parent)
    had_folder = (home / below).is_dir()
    folder.make(below)
    _remove_stale(folder, below, PurePosixPath(file.path).name)
    try:
        folder.write_pieces(file.path, _pieces(source, file, url, response))
    except BaseException:  # also an interrupt: the folder is as it was before
        if not had_folder:
            with suppress(OSError):
                folder.remove(below)
        raise


def _remove_stale(folder: Folder, below: str, name: str) -> None:
    """Delete the temporary files of downloads that were killed, an hour old or more."""
    for other in folder.names(below):
        if temporary_of(other) == name and time.time() - (folder.path(below) / other).stat().st_mtime > 3600:
            folder.remove(f"{below}/{other}")


def _url(origin: str, path: str) -> str:
    """The address of a file below a folder or an address."""
    if "://" not in origin:
        place = Path(origin).expanduser().resolve()
        if not place.is_dir():
            raise ValueError(f"--from is a folder, or an address such as https://host/data, got {origin!r}.")
        return (place / path).as_uri()
    scheme = urllib.parse.urlsplit(origin).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"--from takes addresses of {', '.join(SCHEMES)}, got {origin!r}.")
    return f"{origin.rstrip('/')}/{urllib.parse.quote(path)}"


def _opened(source: DataSource, file: DataFile, url: str, timeout: float) -> Any:
    """The open response, of the expected length where the server gives one."""
    try:
        response = urllib.request.urlopen(url, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise _failure(source, file, url, f"the server replies {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise _failure(source, file, url, f"it cannot be reached ({_words(error)})") from None
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) != file.size:
        response.close()
        raise _failure(source, file, url, f"it has {int(length):,} bytes, expected {file.size:,}")
    return response


def _pieces(source: DataSource, file: DataFile, url: str, response: Any) -> Iterator[bytes]:
    """The bytes of a response, refused at their end unless length and checksum are right."""
    total, count = hashlib.sha256(), 0
    while True:
        try:
            piece = response.read(PIECE)
        except (http.client.HTTPException, OSError) as error:
            why = f"it broke off after {count:,} of {file.size:,} bytes ({_words(error)})"
            raise _failure(source, file, url, why) from None
        if not piece:
            break
        count += len(piece)
        if count > file.size:
            raise _failure(source, file, url, f"it has more than the expected {file.size:,} bytes")
        total.update(piece)
        yield piece
    if count < file.size:
        raise _failure(source, file, url, f"it broke off after {count:,} of {file.size:,} bytes")
    if total.hexdigest() != file.sha256:
        why = f"its SHA-256 is {total.hexdigest()}, expected {file.sha256}: another version"
        raise _failure(source, file, url, why)


def _words(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "no byte came in time"
    return (reason.strerror or str(reason)) if isinstance(reason, OSError) else str(reason) or type(reason).__name__


def _failure(source: DataSource, file: DataFile, url: str, why: str) -> RuntimeError:
    return RuntimeError(
        f"Data set {source.name} was not fetched from {url}: {why}. Nothing was written; run it again, give another "
        f"place with --from, or place {data_home() / file.path} by hand (SHA-256 {file.sha256}); the original is at "
        f"{source.address}."
    )
