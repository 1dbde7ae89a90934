"""Ray's workers in forks of a process that has imported torch and fedmtl. What the forks run is Ray's own worker.

For clusters that the process of tests starts, and for commands of ``program``. A stub has the environment that Ray
gives to its worker, and the fork ends with it: what is left is found by its stub.
"""

import argparse
import atexit
import json
import os
import runpy
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests import stubs

ENVIRONMENT = dict(os.environ)
"""Of the first process: without what a test has set."""

PORTS = {
    "dashboard_agent": ("METRICS_AGENT", "METRICS_EXPORT", "DASHBOARD_AGENT_LISTEN"),
    "runtime_env_agent": ("RUNTIME_ENV_AGENT",),
}
"""What each agent of Ray's serves."""


@cache
def stub_of_workers() -> Path:
    """A stub of workers, which stays until this process ends."""
    stack = ExitStack()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="r-"))) / "stubs"
    stack.enter_context(stubs.stubs(folder, ["worker"], __name__, ENVIRONMENT))
    atexit.register(stack.close)
    return folder / "worker"


@contextmanager
def forked_workers(
    stub: Path | None = None, agents: Sequence[str] = ("dashboard_agent", "runtime_env_agent")
) -> Iterator[None]:
    """Have a stub in place of the workers of clusters that are started meanwhile.

    Args:
        stub: of the tests, for a program that they have started; this process's own by default.
        agents: Ray's processes that are left out.
    """
    if not stubs.POSSIBLE:
        yield
        return
    from ray._private import services

    worker = str(stub or stub_of_workers())
    start = services.start_ray_process
    set_up = str(Path(services.__file__).parent / "workers" / "setup_worker.py")

    def with_stub(command: list[str], kind: str, *arguments: Any, **settings: Any) -> Any:
        true, forking = (subprocess.list2cmdline(each) for each in ([sys.executable, set_up], [worker]))
        changed = [
            part.replace(f"--python_worker_command={true} ", f"--python_worker_command={forking} ") for part in command
        ]
        assert kind != "raylet" or changed != command
        return start(without_agents(changed, agents) if kind == "raylet" else changed, kind, *arguments, **settings)

    with patch.object(services, "start_ray_process", with_stub):
        yield


def without_agents(raylet: list[str], agents: Sequence[str]) -> list[str]:
    """The command of a raylet with nothing in place of agents, Python processes that it starts and waits for.

    They are for the dashboard, and for environments that workers are given. An agent writes its ports into files, −1
    for one that it does not serve, and ends when the raylet, which holds its input, has ended.
    """
    from ray import _raylet

    compiled: Any = _raylet
    values = {name: value for name, _, value in (part[2:].partition("=") for part in raylet[1:])}
    for agent in agents:
        for port in PORTS[agent]:
            compiled.persist_port(values["session_dir"], values["node_id"], getattr(compiled, f"{port}_PORT_NAME"), -1)
    commands = tuple(f"--{agent}_command" for agent in agents)
    return [f"{part.partition('=')[0]}=cat" if part.startswith(commands) else part for part in raylet]


@contextmanager
def forked_when_begun(stub: Path | None = None) -> Iterator[None]:
    """``forked_workers`` around the start of each cluster of fedmtl's; Ray is not imported before."""
    from fedmtl.runtime.ray import cluster

    begin = cluster._start_head

    def forking() -> None:
        with forked_workers(stub):
            begin()

    with patch.object(cluster, "_start_head", forking):
        yield


def on_forks(code: str, stub: Path | None = None) -> str:
    """A program, for tests.forks, that has workers of a stub where it starts a cluster of fedmtl's.

    Args:
        code: of the program.
        stub: this process's own by default.
    """
    if not stubs.POSSIBLE:
        return code
    return (
        "from pathlib import Path\n"
        "from tests.runtime.ray_forks import forked_when_begun\n"
        f"with forked_when_begun(Path({str(stub or stub_of_workers())!r})):\n{textwrap.indent(code, '    ')}"
    )


def program(arguments: Sequence[str]) -> str:
    """A program that is ``fedmtl`` with these arguments, with such workers."""
    return on_forks(f"import sys, fedmtl.__main__\nsys.argv = {['fedmtl', *arguments]!r}\nfedmtl.__main__.main()")


def work(arguments: list[str]) -> None:
    """Run the worker with its own arguments, as Ray's ``setup_worker.py`` does where an environment is variables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", default="{}")
    parser.add_argument("--language")
    known, command = parser.parse_known_args(arguments[1:])
    wanted = json.loads(known.serialized_runtime_env_context)
    variables = wanted.pop("env_vars", {})
    assert wanted.pop("py_executable", sys.executable) == sys.executable and not any(wanted.values()), known
    os.environ.update(variables)
    sys.path[1:1] = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    sys.argv = command
    runpy.run_path(sys.argv[0], run_name="__main__")


OTHERS = ("filelock", "google.protobuf.message", "msgpack", "pdb", "pydantic.v1", "tqdm", "uvloop", "wcwidth")
"""Packages that Ray imports in each worker, without those that begin threads."""


if __name__ == "__main__":
    import cloudpickle  # noqa: F401
    import jsonschema  # noqa: F401
    import requests  # noqa: F401
    import yaml  # noqa: F401

    import fedmtl.runtime.local  # noqa: F401
    from tests.no_dynamo import leave_optimizers_uncompiled

    leave_optimizers_uncompiled()
    for name in OTHERS:
        with suppress(ImportError):
            import_module(name)
    assert "ray" not in sys.modules  # it reads a worker's variables of the environment when it is imported
    stubs.main(work)
