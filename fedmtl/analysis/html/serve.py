"""The page of runs that go on, served on this machine."""

import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fedmtl.analysis.html.write import content, html_of

NUMBERS = "/numbers.json"

EMPTY: dict[str, Any] = {"tasks": {}, "groups": [], "runs": []}

HERE = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine that a browser may ask for: a page of another site must not read the runs by a name of its
own that leads here."""


def server(folders: Sequence[Path], port: int = 0) -> ThreadingHTTPServer:
    """Return a server of the page and its numbers, on this machine alone; ``serve_forever`` begins it.

    Args:
        folders: with runs at any depth; runs may begin later.
        port: 0 for any that is free.

    Raises:
        ValueError: no port.
        OSError: the port is taken.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"port is a whole number from 0 to 65535, got {port}.")
    return ThreadingHTTPServer(("127.0.0.1", port), _handler(_numbers_of(folders)))


def _numbers_of(folders: Sequence[Path]) -> Callable[[], dict[str, Any]]:
    """Return a function that reads the runs; one request at a time, since all want the same numbers."""
    lock = threading.Lock()

    def numbers() -> dict[str, Any]:
        with lock:
            try:
                return content([folder for folder in folders if folder.is_dir()])
            except (FileNotFoundError, ValueError) as error:  # no run yet, or a file that is being written
                return {**EMPTY, "problem": str(error)}

    return numbers


def _handler(numbers: Callable[[], dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            if host not in HERE:
                self.send_error(403)
            elif self.path == "/":
                self._send(html_of(numbers(), NUMBERS).encode(), "text/html; charset=utf-8")
            elif self.path == NUMBERS:
                self._send(json.dumps(numbers(), allow_nan=False).encode(), "application/json")
            else:
                self.send_error(404)

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing: the terminal shows the address alone."""

    return Handler
