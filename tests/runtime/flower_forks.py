"""Flower's commands in forks of a process that has imported Flower and torch. They are Flower's own code, and each that
needs fedmtl imports it anew, from where Flower has put it.

What all of them would do again is done once: a bundle is unpacked by the first of a home that gets it, and its modules
are compiled by the first that imports them, as they are where Python may write its files. Flower's own simulation has
a Ray without dashboard and monitors, and workers that are forks too.
"""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests import stubs
from tests.runtime import ray_forks

COMMANDS = {
    "flower-superexec": "flwr.supercore.cli:flower_superexec",
    "flower-superlink": "flwr.superlink.cli:flower_superlink",
    "flower-supernode": "flwr.supernode.cli:flower_supernode",
    "flwr": "flwr.cli.app:app",
    "flwr-clientapp": "flwr.supernode.cli:flwr_clientapp",
    "flwr-serverapp": "flwr.superlink.cli:flwr_serverapp",
    "flwr-simulation": "flwr.simulation.app:flwr_simulation",
}

WORKER = "worker"
"""The stub of the workers of a simulation's Ray."""

IMPORTS = ("numpy.random", "safetensors.torch", "torch", "xxhash")
"""What fedmtl's apps import."""

UNPACKING = {
    "flwr-clientapp": "flwr.supernode.runtime.run_clientapp",
    "flwr-serverapp": "flwr.superlink.runtime.run_serverapp",
    "flwr-simulation": "flwr.simulation.app",
}
"""Commands that unpack the bundle, and their modules."""


def once(install: Callable[..., Path]) -> Callable[..., Path]:
    """Flower's ``install_from_fab`` where it has not been called to its end for a bundle in this home.

    It unpacks a bundle into a folder of its own, checks it, and then goes by the one that is there.
    """

    def installed(fab: bytes, skip_prompt: bool) -> Path:
        from flwr.supercore.utils import get_flwr_home

        done = get_flwr_home() / "unpacked" / hashlib.sha256(fab).hexdigest()
        if not done.exists():
            path = install(fab, skip_prompt=skip_prompt)
            done.parent.mkdir(exist_ok=True)
            done.with_suffix(f".{id(done)}").write_text(str(path))
            done.with_suffix(f".{id(done)}").replace(done)
        return Path(done.read_text())

    return installed


@contextmanager
def small_ray(worker: Path) -> Iterator[None]:
    """Clusters that are started meanwhile have no dashboard and monitors, and workers of a stub."""
    from ray._private.node import Node

    with ExitStack() as stack:
        for name in ("start_api_server", "start_monitor", "start_log_monitor"):
            stack.enter_context(patch.object(Node, name, lambda *arguments, **settings: None))
        stack.enter_context(ray_forks.forked_workers(worker, ["dashboard_agent"]))  # the other one sets PYTHONPATH
        yield


if __name__ == "__main__":
    for _name in IMPORTS:
        importlib.import_module(_name)
    _calls: dict[str, Any] = {name: EntryPoint(name, value, "").load() for name, value in COMMANDS.items()}
    for _name in UNPACKING.values():
        _module: Any = importlib.import_module(_name)
        _module.install_from_fab = once(_module.install_from_fab)
    assert not {"fedmtl", "ray"} & {name.split(".")[0] for name in sys.modules}

    def _call(arguments: list[str]) -> Any:
        stub = Path(arguments[0])
        if stub.name in UNPACKING:
            sys.dont_write_bytecode = False  # beside the app, in a folder of the test's
        if stub.name == WORKER:
            return ray_forks.work(arguments)
        if stub.name == "flwr-simulation":
            with small_ray(stub.with_name(WORKER)):
                return _calls[stub.name]()
        return _calls[stub.name]()

    stubs.main(_call)
