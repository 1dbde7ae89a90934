"""Downloads: the whole file with the right checksum, or one clear error and nothing written."""

import contextlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedmtl.data.fetch import fetch_file
from fedmtl.data.source import DataSource
from tests.data.homes import all_files, small_source

CONTENT = os.urandom(300_000)


class Server(http.server.ThreadingHTTPServer):
    """Sends ``CONTENT`` as its path says: whole, wrong, cut, slowly, or not at all."""

    daemon_threads = True


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        how = self.path.split("/")[1]
        body = {"wrong": CONTENT[::-1], "page": b"<html>sign in</html>", "long": CONTENT + b"more"}.get(how, CONTENT)
        if how == "absent":
            self.send_error(404)
            return
        self.send_response(200)
        if how not in ("long", "short"):  # those do not say how long they are
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body[:1000] if how in ("cut", "short", "stalled") else body)
            self.wfile.flush()
            if how == "stalled":
                time.sleep(2)
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def get(source: DataSource, origin: str = "", timeout: float = 20.0) -> bool:
    return fetch_file(source, source.files[0], origin, timeout)


def test_a_file_is_fetched_once(address: str, home: Path) -> None:
    source = small_source(CONTENT, f"{address}/whole/x")
    assert get(source) and (home / "small" / "small.bin").read_bytes() == CONTENT
    assert all_files(home) == ["small/small.bin"]
    assert not get(replace(source, files=(replace(source.files[0], address="http://127.0.0.1:1/gone"),)))


def test_a_file_with_other_bytes_is_replaced(address: str, home: Path) -> None:
    (home / "small").mkdir(parents=True)
    (home / "small" / "small.bin").write_bytes(b"half")
    assert get(small_source(CONTENT, f"{address}/whole/x"))
    assert (home / "small" / "small.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("absent", "the server replies 404 Not Found"),
        ("wrong", r"its SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}: another version"),
        ("page", "it has 20 bytes, expected 300,000"),
        ("long", "it has more than the expected 300,000 bytes"),
        ("cut", "it broke off after 1,000 of 300,000 bytes"),
        ("short", "it broke off after 1,000 of 300,000 bytes"),
        ("stalled", r"it broke off after [\d,]+ of 300,000 bytes \(no byte came in time\)"),
    ],
)
@pytest.mark.parametrize("before", [None, b"an older file"])
def test_what_fails_leaves_all_as_it_was(
    address: str, home: Path, how: str, message: str, before: bytes | None
) -> None:
    if before is not None:
        (home / "small").mkdir(parents=True)
        (home / "small" / "small.bin").write_bytes(before)
    with pytest.raises(RuntimeError, match=message) as error:
        get(small_source(CONTENT, f"{address}/{how}/x"), timeout=0.5)
    text = str(error.value)
    assert f"Data set small was not fetched from {address}/{how}/x" in text and "Nothing was written" in text
    assert "https://example.org/small" in text and "\n" not in text
    assert (all_files(home) if home.exists() else []) == ([] if before is None else ["small/small.bin"])
    assert before is None or (home / "small" / "small.bin").read_bytes() == before
    assert before is not None or not (home / "small").exists()


def test_an_unreachable_address(home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RuntimeError, match=r"it cannot be reached \(Connection refused\)"):
        get(small_source(CONTENT, f"http://127.0.0.1:{port}/x"))
    with pytest.raises(RuntimeError, match=r"not fetched from http://no\.such\.host\.invalid/x: it cannot be reached"):
        get(small_source(CONTENT, "http://no.such.host.invalid/x"))
    assert not home.exists()


def test_an_interrupt_leaves_nothing(home: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is pressed in the middle of the download."""
    pieces = iter([CONTENT[:1000]])

    class Response:
        headers: dict[str, str] = {}

        def __enter__(self) -> "Response":
            return self

        def __exit__(self, *error: object) -> None: ...

        def read(self, size: int) -> bytes:
            try:
                return next(pieces)
            except StopIteration:
                raise KeyboardInterrupt from None

    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Response())
    with pytest.raises(KeyboardInterrupt):
        get(small_source(CONTENT, f"{address}/whole/x"))
    assert not (home / "small").exists()


def test_what_a_killed_download_left_is_cleared_away(home: Path, address: str) -> None:
    """Its temporary file, once it is an hour old; a younger one may be another process's."""
    (home / "small").mkdir(parents=True)
    old, young = (home / "small" / f".small.bin.tmp-{digit * 32}" for digit in "ab")
    for path in (old, young):
        path.write_bytes(CONTENT[:10])
    past = time.time() - 4000
    os.utime(old, (past, past))
    assert get(small_source(CONTENT, f"{address}/whole/x"))
    assert all_files(home) == [f"small/{young.name}", "small/small.bin"]


def test_a_file_without_an_address_says_how_to_place_it(home: Path) -> None:
    with pytest.raises(ValueError, match="re-packed copy without an address") as error:
        get(small_source(CONTENT))
    for part in ("https://example.org/small", "licence: MIT", str(home / "small/small.bin"), "packed small.", "--from"):
        assert part in str(error.value)
    assert "300,000 bytes, SHA-256 " in str(error.value)


def test_another_place_has_the_files_as_a_home_has_them(home: Path, tmp_path: Path, address: str) -> None:
    other = tmp_path / "other home"
    (other / "small").mkdir(parents=True)
    (other / "small" / "small.bin").write_bytes(CONTENT)
    source = small_source(CONTENT)
    assert get(source, str(other)) and (home / "small" / "small.bin").read_bytes() == CONTENT
    (home / "small" / "small.bin").unlink()
    assert get(source, other.as_uri()) and get(source, f"{address}/whole/") is False
    (home / "small" / "small.bin").unlink()
    assert get(source, f"{address}/whole/")
    (home / "small" / "small.bin").unlink()
    (other / "small" / "small.bin").unlink()
    with pytest.raises(RuntimeError, match=r"cannot be reached \(No such file"):
        get(source, str(other))


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ("nowhere at all", "--from is a folder, or an address such as"),
        ("ftp://host/x", "--from takes addresses of http"),
    ],
)
def test_what_is_no_place(home: Path, origin: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get(small_source(CONTENT), origin)


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FEDMTL_DATA", str(tmp_path / "file" / "home"))
    with pytest.raises(OSError, match="Not a directory"):
        get(small_source(CONTENT, f"{address}/whole/x"))
