"""Real Flower processes for tests: a SuperLink, SuperNodes and ``flwr run``, on loopback, ended by pid.

Where the system allows it, they are forks of one that has imported what they need (``flower_forks``).
"""

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from tests import stubs
from tests.processes import kill_all
from tests.runtime import flower_forks

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
KINDS = "kinds"
"""A module beside the presets of these tests that machines allow their runs to import."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


FIXED = {
    "FEDMTL_ALLOW": KINDS,
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
}

FIRST = {**os.environ, **FIXED}
"""Of the process that the others are forks of: without what a test has set."""


@cache
def commands() -> str:
    """A folder with Flower's commands, which stays until this process ends."""
    if not stubs.POSSIBLE:
        return str(BIN)
    stack = ExitStack()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="f-"))) / "bin"
    stack.enter_context(
        stubs.stubs(folder, [*flower_forks.COMMANDS, flower_forks.WORKER], flower_forks.__name__, FIRST)
    )
    atexit.register(stack.close)
    return str(folder)


@cache
def app() -> str:
    """A folder with a copy of the app, which stays until this process ends.

    ``flwr run`` resolves the path of each file below the folder that it is given, also of those that it then leaves
    out: of some 70,000 where an environment lies in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="a-")) / "app"
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    shutil.copytree(ROOT / "fedmtl", folder / "fedmtl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return str(folder)


def environment(home: Path) -> dict[str, str]:
    """Flower's home is the test's own; nothing is installed or reported."""
    return {
        **os.environ,
        **FIXED,
        "FLWR_HOME": str(home),
        "PATH": os.pathsep.join([commands(), str(BIN), os.environ["PATH"]]),
    }


@contextmanager
def process(command: list[str], home: Path, log: str) -> Iterator[subprocess.Popen[bytes]]:
    with open(home / log, "wb") as output:
        child = subprocess.Popen(command, env=environment(home), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_for_port(port: int, child: subprocess.Popen[bytes], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"the process listening on port {port} ended with code {child.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


@contextmanager
def superlink(home: Path, simulation: bool) -> Iterator[int]:
    """A SuperLink known to ``flwr`` as "test"; gives its port."""
    home.mkdir(parents=True, exist_ok=True)
    port, health = free_port(), free_port()
    command = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--health-server-address", f"127.0.0.1:{health}", "--disable-runtime-dependency-installation"]
    command += ["--simulation"] if simulation else []
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "test"\n\n[superlink.test]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    with ExitStack() as stack:
        stack.callback(kill_all, f"FLWR_HOME={home}\0")  # what Flower has left
        wait_for_port(port, stack.enter_context(process(command, home, "superlink.log")))
        yield port


@contextmanager
def deployment(
    home: Path, node_configs: list[str], through: Callable[[int], int] = int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A SuperLink and a SuperNode for each node configuration; ``through`` gives the port that nodes connect to."""
    with ExitStack() as stack:
        port = stack.enter_context(superlink(home, simulation=False))
        nodes, port = [], through(port)
        for number, config in enumerate(node_configs):
            command = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"]
            command += ["--port", str(free_port()), "--node-config", config]
            nodes.append(stack.enter_context(process(command, home, f"node{number}.log")))
        yield nodes


def flower_counter(home: Path) -> dict[str, int]:
    """Flower's own count of the traffic of the first run: bytes "down" to the nodes and "up" from them."""
    command = ["flwr", "list", "test", "--format", "json"]
    listed = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=120, check=True)
    counted = json.loads(listed.stdout[listed.stdout.index("{") :])["runs"][-1]["network-traffic"]
    return {"down": counted["outbound-bytes"], "up": counted["inbound-bytes"]}


def flwr_run(
    home: Path,
    preset: Path,
    overrides: str,
    out: Path,
    seconds: float = 240,
    resume: bool = False,
    until: Callable[[], bool] | None = None,
) -> dict:
    """``flwr run`` of this checkout until the run folder holds a summary; gives the summary.

    With ``until``, no longer than until this holds; gives nothing then.
    """
    command = ["flwr", "run", app(), "test", "--format", "json"]
    resumed = " resume=true" if resume else ""
    command += ["-c", f'preset="{preset}" overrides="{overrides}" out="{out}"{resumed}']
    started = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=120)
    answer = started.stdout[started.stdout.find("{") :]
    if started.returncode or not json.loads(answer).get("success"):
        raise RuntimeError(f"flwr run failed: {started.stdout}\n{started.stderr}")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (out / "summary.json").exists():
            return json.loads((out / "summary.json").read_text())
        if until is not None and until():
            return {}
        time.sleep(0.3 if until is None else 0.02)
    logs = "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in home.glob("*.log"))
    raise TimeoutError(f"no summary after {seconds} s\n{logs}")
