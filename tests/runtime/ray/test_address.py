"""An address without a Ray cluster is refused soon, in one line that says what is there."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmtl.runtime.ray import address
from fedmtl.runtime.ray.address import check_address
from tests import forks

ROOT = Path(__file__).parents[3]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refusal(address: str) -> str:
    begin = time.monotonic()
    with pytest.raises(RuntimeError) as caught:
        check_address(address)
    assert time.monotonic() - begin < 15
    text = str(caught.value)
    assert "\n" not in text and repr(address) in text
    assert "start one with 'ray start --head', or leave it empty" in text
    return text


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_nothing_listens(kind: str, closed: int) -> None:
    assert "refused" in refusal(f"{kind}127.0.0.1:{closed}")


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_a_server_that_is_silent(kind: str, silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "REPLY_S", 2.0)
    assert "is open, but" in refusal(f"{kind}127.0.0.1:{silent}")


def test_a_server_that_is_no_rays(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            assert server.stdout
            port = int(server.stdout.readline().split(b" port ")[1].split()[0])
            assert "is open, but" in refusal(f"127.0.0.1:{port}")
        finally:
            server.kill()


def test_a_name_that_does_not_resolve() -> None:
    text = refusal("no-such-host.invalid:6379")
    assert "does not resolve" in text or "not reached" in text


def test_a_host_that_drops_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "REACHED_S", 0.3)
    monkeypatch.setattr(socket, "create_connection", lambda place, timeout: time.sleep(60))
    assert "10.255.255.1 port 6379 was not reached within 0.3 s" in refusal("10.255.255.1:6379")


@pytest.mark.parametrize("address", ["here", "host:", ":6379", "host:port", "host:70000", "ray://", "ray://:1"])
def test_what_is_no_address(address: str) -> None:
    assert '"auto", "host:port" or "ray://host:port"' in refusal(address)


def test_the_command_says_it_at_once(silent: int) -> None:
    begin = time.monotonic()
    done = forks.run(["run", "digits", "--set", f"runtime=Ray(address='127.0.0.1:{silent}')"], cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: No Ray cluster at address=") and done.stderr.count("\n") == 1
    assert time.monotonic() - begin < 60
