"""Files of golden checks by name: each component's is named after the component's own file."""

import importlib
from types import ModuleType
from typing import Any

from fedmtl.registry.components import REGISTRY, find

OTHER_KINDS = ("weighting", "optimizer")
"""Kinds that have golden checks, besides algorithms."""


def class_of(name: str) -> Any:
    """Return an algorithm, or else a weighting or an optimizer.

    Raises:
        ValueError: none is named so.
    """
    kinds = {each.lower(): kind for kind in OTHER_KINDS for each in REGISTRY[kind]}
    return find(kinds.get(name.lower(), "algorithm"), name)


def checks_file(name: str) -> ModuleType:
    """Return the file of golden checks of a component: ``CHECKS``, and of an algorithm also ``GAIN`` and ``PENALTY``.

    Raises:
        ValueError: an unknown name.
    """
    return importlib.import_module(f"fedmtl.verify.{class_of(name).__module__.rpartition('.')[2]}")
