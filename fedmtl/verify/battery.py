"""All golden checks, by algorithm, and by weighting of tasks."""

import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fedmtl.components import REGISTRY, find
from fedmtl.verify.check import Check, Found


class Line(NamedTuple):
    """One line of the scorecard."""

    algorithm: str
    paper: str
    check: str
    found: Found


def names_of_all() -> list[str]:
    """Every algorithm, then every weighting."""
    return [*REGISTRY["algorithm"], *REGISTRY["weighting"]]


def class_of(name: str) -> Any:
    """An algorithm, or else a weighting.

    Raises:
        ValueError: neither is named so.
    """
    weightings = {each.lower() for each in REGISTRY["weighting"]}
    return find("weighting" if name.lower() in weightings else "algorithm", name)


def checks_of(name: str) -> tuple[Check, ...]:
    """The checks of an algorithm: those of the file of its name in this folder.

    Raises:
        ValueError: an unknown algorithm.
    """
    module = class_of(name).__module__.rpartition(".")[2]
    return importlib.import_module(f"fedmtl.verify.{module}").CHECKS


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
            except Exception as error:  # the scorecard goes on
                found = Found("a number", f"{type(error).__name__}: {error}", False)
            yield Line(name, paper_of(cls), title(check), found)
