"""Flower's partitioners, imported without what its datasets package draws with."""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

PICTURES = "flwr_datasets.visualization"
"""Imports seaborn, and with it scipy.stats: three of the five seconds that the package takes, before a first round."""


def flower_partitioners() -> ModuleType:
    """Flower's module of partitioners. ``datasets`` is kept off the network and quiet: nothing here is downloaded."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    if "flwr_datasets" not in sys.modules:
        _import_pictures_when_used()
    from flwr_datasets import partitioner

    return partitioner


def _import_pictures_when_used() -> None:
    """Let the package find, for its pictures, a module that imports them when the first of its names is asked for."""
    package = importlib.util.find_spec("flwr_datasets")
    spec = PathFinder.find_spec(PICTURES, None if package is None else package.submodule_search_locations)
    if spec is None:
        return
    stand_in = importlib.util.module_from_spec(spec)

    def attribute(name: str) -> Any:
        if name.startswith("__"):  # what inspect and warnings ask each module for
            raise AttributeError(f"module {PICTURES!r} has no attribute {name!r}")
        if sys.modules.get(PICTURES) is stand_in:
            del sys.modules[PICTURES]
        return getattr(importlib.import_module(PICTURES), name)

    stand_in.__dict__["__getattr__"] = attribute
    sys.modules[PICTURES] = stand_in
