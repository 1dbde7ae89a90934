"""Files of golden checks by name: each component's is named after the component's own file."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from fedmtl.registry.components import REGISTRY, find

OTHER_KINDS = ("weighting", "optimizer")
"""Kinds that have golden checks, besides algorithms."""

OPTIONAL_KINDS = ("codec", "transform")
"""Kinds of which some have golden checks: those with a file here. The contract tests measure the others' claims."""


def names_of_others() -> dict[str, str]:
    """Return name -> kind of what has golden checks, besides algorithms."""
    folder = Path(__file__).parent
    found = {name: kind for kind in OTHER_KINDS for name in REGISTRY[kind]}
    for kind in OPTIONAL_KINDS:
        for name, path in REGISTRY[kind].items():
            if (folder / f"{path.partition(':')[0].rpartition('.')[2]}.py").is_file():
                found[name] = kind
    return found


def class_of(name: str) -> Any:
    """Return an algorithm, or else a weighting, an optimizer, a codec or a transform.

    Raises:
        ValueError: none is named so.
    """
    kinds = {each.lower(): kind for each, kind in names_of_others().items()}
    return find(kinds.get(name.lower(), "algorithm"), name)


def checks_file(name: str) -> ModuleType:
    """Return the file of golden checks of a component: ``CHECKS``, and of an algorithm also ``GAIN`` and ``PENALTY``.

    Raises:
        ValueError: an unknown name.
    """
    return importlib.import_module(f"fedmtl.verify.{class_of(name).__module__.rpartition('.')[2]}")
