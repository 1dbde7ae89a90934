"""Flower's commands in forks of a process that has imported Flower and torch. They are Flower's own code, and each that
needs fedmtl imports it anew, from where Flower has put it."""

import importlib
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from tests import stubs

COMMANDS = {
    "flower-superexec": "flwr.supercore.cli:flower_superexec",
    "flower-superlink": "flwr.superlink.cli:flower_superlink",
    "flower-supernode": "flwr.supernode.cli:flower_supernode",
    "flwr": "flwr.cli.app:app",
    "flwr-clientapp": "flwr.supernode.cli:flwr_clientapp",
    "flwr-serverapp": "flwr.superlink.cli:flwr_serverapp",
    "flwr-simulation": "flwr.simulation.app:flwr_simulation",
}

IMPORTS = ("numpy.random", "safetensors.torch", "torch", "xxhash")
"""What fedmtl's apps import."""

if __name__ == "__main__":
    for _name in IMPORTS:
        importlib.import_module(_name)
    _calls: dict[str, Any] = {name: EntryPoint(name, value, "").load() for name, value in COMMANDS.items()}
    assert not any(name.split(".")[0] == "fedmtl" for name in sys.modules)
    stubs.main(lambda arguments: _calls[Path(arguments[0]).name]())
