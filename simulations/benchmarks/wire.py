"""Bytes at the sockets of a SuperLink's two nodes, beside the model of the wire and Flower's own counter.

    python simulations/benchmarks/wire.py --trunk-kb 20 5000

A SuperLink and two SuperNodes are started on this machine, with a relay between that counts what it passes on. Rerun it
on your network with ``--listen``, and give nodes the relay's address in place of the SuperLink's.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

REQUEST = re.compile(rb"(?:POST|GET) (\S+) HTTP/1\.1\r\n")
PRESET = """
name = "wire"
rounds = 2
cohort = 1.0
runtime = "InProcess"
algorithm = "FedPer"
data = {{ name = "synthetic", clients = 4, examples = 20, features = 8, tasks = 2 }}
model = {{ name = "MLP", hidden = [{hidden}] }}
"""


class Relay:
    """Passes TCP connections on to a port, and counts their bytes, in all and by request.

    Args:
        port: that is passed on to.
        host: address to listen on.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.bytes: Counter[tuple[str, str]] = Counter()
        """(direction, path of the request) -> bytes; "up" is from those that connect."""
        self._to = port
        self._listening = socket.create_server((host, 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def total(self, direction: str) -> int:
        return sum(count for (way, _), count in self.bytes.copy().items() if way == direction)

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                one, other = self._listening.accept()[0], socket.create_connection(("127.0.0.1", self._to))
                path = [""]
                for pair in ((one, other, "up"), (other, one, "down")):
                    threading.Thread(target=self._pass_on, args=(*pair, path), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, direction: str, path: list[str]) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 18):
                if direction == "up" and (found := REQUEST.match(data)):
                    path[0] = found[1].decode()
                self.bytes[direction, path[0]] += len(data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def started(command: list[str], home: Path, log: str) -> Iterator[None]:
    """A process that ends with the block."""
    with open(home / log, "wb") as output:
        child = subprocess.Popen(command, env=environment(home), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            child.terminate()
            child.wait(30)


def environment(home: Path) -> dict[str, str]:
    """Flower's home is the measurement's own; nothing is installed or reported."""
    own = {"FLWR_HOME": str(home), "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1", "FLWR_TELEMETRY_ENABLED": "0"}
    return {**os.environ, **own, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(hidden: int, host: str, app: Path, home: Path) -> dict[str, Any]:
    """Return a run's bytes at the sockets, its summary, and Flower's counter."""
    port, health = free_port(), free_port()
    (home / "config.toml").write_text(f'[superlink.wire]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
    (home / "wire.toml").write_text(PRESET.format(hidden=hidden))
    link = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
    with ExitStack() as stack:
        stack.enter_context(started([*link, "--health-server-address", f"127.0.0.1:{health}"], home, "superlink.log"))
        _wait(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
        relay = Relay(port, host)
        for number in range(2):
            node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{relay.port}", "--port"]
            config = ["--node-config", f"partition-id={number} num-partitions=2"]
            stack.enter_context(started([*node, str(free_port()), *config], home, f"node{number}.log"))
        _wait(lambda: sum(path.endswith("activate-node") for _, path in relay.bytes.copy()) > 0)
        time.sleep(5)
        before = {way: relay.total(way) for way in ("down", "up")}
        config = f'preset="{home / "wire.toml"}" out="{home / "out"}"'
        subprocess.run(
            ["flwr", "run", str(app), "wire", "-c", config], env=environment(home), check=True, capture_output=True
        )
        _wait(lambda: (home / "out" / "summary.json").exists())
        sockets = {way: relay.total(way) - before[way] for way in before}
        listed = subprocess.run(
            ["flwr", "list", "wire", "--format", "json"], env=environment(home), capture_output=True, text=True
        ).stdout
        relay.close()
    counter = json.loads(listed[listed.index("{") :])["runs"][0]["network-traffic"]
    summary = json.loads((home / "out" / "summary.json").read_text())
    flower = {"down": counter["outbound-bytes"], "up": counter["inbound-bytes"]}
    return {"sockets": sockets, "summary": summary, "flower": flower}


def _wait(done: Any, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            if done():
                return
        time.sleep(0.2)
    raise TimeoutError(f"not done after {seconds:g} s; look into the logs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trunk-kb", type=float, nargs="+", default=[20, 5000], help="sizes of the trunk, kB")
    parser.add_argument("--listen", default="127.0.0.1", help="address of the relay")
    parser.add_argument("--app", type=Path, default=Path(__file__).parents[2], help="the checkout that is run")
    args = parser.parse_args()
    columns = [
        "packets",
        "application",
        "Flower's counter, expected",
        "Flower's counter",
        "wire, modelled",
        "at sockets",
    ]
    print(f"| trunk | direction | {' | '.join(columns)} | counter apart | wire apart |")
    print(f"| --- | --- |{' ---: |' * 8}")
    for kb in args.trunk_kb:
        with tempfile.TemporaryDirectory(prefix="fedmtl-wire-") as folder:
            found = measure(max(1, round(kb * 1000 / 36)), args.listen, args.app, Path(folder))
        sizes, transport, summary = found["sockets"], found["summary"]["transport"], found["summary"]["bytes"]
        for way in ("down", "up"):
            wire, real = transport["wire_bytes"][way], sizes[way]
            expected, counted = transport["flower_counter"][way], found["flower"][way]
            row = [summary[way], transport["app_bytes"][way], expected, counted, wire, real]
            apart = f"{expected / counted - 1:+.2%}", f"{wire / real - 1:+.2%}"
            print(f"| {kb:g} kB | {way} | {' | '.join(f'{n:,}' for n in row)} | {' | '.join(apart)} |")


if __name__ == "__main__":
    main()
