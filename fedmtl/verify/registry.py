"""All golden checks, by algorithm, by weighting of tasks, and by optimiser."""

import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fedmtl.registry.components import REGISTRY, find
from fedmtl.verify.beats_local import gain_checks
from fedmtl.verify.check import Check, CheckResult
from fedmtl.verify.penalty_gradient import pull_checks


class Line(NamedTuple):
    """One line of the report."""

    algorithm: str
    paper: str
    check: str
    found: CheckResult


OTHER_KINDS = ("weighting", "optimizer")
"""Kinds that have golden checks, besides algorithms."""


def names_of_all() -> list[str]:
    """Every algorithm, then every weighting, then every optimiser."""
    return [*REGISTRY["algorithm"], *(name for kind in OTHER_KINDS for name in REGISTRY[kind])]


def class_of(name: str) -> Any:
    """An algorithm, or else a weighting or an optimiser.

    Raises:
        ValueError: none is named so.
    """
    kinds = {each.lower(): kind for kind in OTHER_KINDS for each in REGISTRY[kind]}
    return find(kinds.get(name.lower(), "algorithm"), name)


def checks_of(name: str) -> tuple[Check, ...]:
    """The checks of an algorithm: those of the file of its name in this folder, and those that many have in common.

    Raises:
        ValueError: an unknown algorithm.
    """
    cls = class_of(name)
    own = importlib.import_module(f"fedmtl.verify.{cls.__module__.rpartition('.')[2]}").CHECKS
    return (*own, *pull_checks(cls.__name__), *gain_checks(cls.__name__))


def paper_of(cls: Any) -> str:
    """The paper that an algorithm's file names: the first indented lines of its docstring."""
    text = getattr(inspect.getmodule(cls), "__doc__", None) or ""  # getdoc would take the indentation away
    found = re.search(r"\n\n((?: {4}.+\n?)+)", text)
    return " ".join(found.group(1).split()) if found else ""


def title(check: Check) -> str:
    """A check's name in words."""
    return getattr(check, "__name__", repr(check)).replace("_", " ")


def verify(names: Sequence[str] = ()) -> Iterator[Line]:
    """Run the checks of some algorithms, or of all; a check that raises an error is not passed.

    Raises:
        ValueError: an unknown algorithm, before anything runs.
    """
    chosen = [(name, class_of(name), checks_of(name)) for name in names or names_of_all()]
    for name, cls, checks in chosen:
        for check in checks:
            try:
                found = check(cls)
            except Exception as error:  # the report goes on
                found = CheckResult("a number", f"{type(error).__name__}: {error}", False)
            yield Line(name, paper_of(cls), title(check), found)
