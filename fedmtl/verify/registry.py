"""All golden checks, by algorithm, weighting of tasks, optimizer, codec and transform."""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fedmtl.registry.components import REGISTRY
from fedmtl.verify.beats_local import gain_checks
from fedmtl.verify.check import Check, CheckResult
from fedmtl.verify.lookup import checks_file, class_of, names_of_others
from fedmtl.verify.penalty_gradient import penalty_checks


class ReportLine(NamedTuple):
    """One check and its result."""

    algorithm: str
    paper: str
    check: str
    found: CheckResult


def names_of_all() -> list[str]:
    """Return the names of all algorithms, then all weightings, optimizers, codecs and transforms with checks."""
    return [*REGISTRY["algorithm"], *names_of_others()]


def checks_of(name: str) -> tuple[Check, ...]:
    """Return the checks of an algorithm: those of the file of its name in this folder, and those that many have in
    common.

    Raises:
        ValueError: an unknown algorithm.
    """
    name = class_of(name).__name__
    return (*checks_file(name).CHECKS, *penalty_checks(name), *gain_checks(name))


def paper_of(cls: Any) -> str:
    """Return the paper that an algorithm's file names: the first indented lines of its docstring."""
    text = getattr(inspect.getmodule(cls), "__doc__", None) or ""  # getdoc would take the indentation away
    found = re.search(r"\n\n((?: {4}.+\n?)+)", text)
    return " ".join(found.group(1).split()) if found else ""


def title(check: Check) -> str:
    """A check's name in words."""
    return getattr(check, "__name__", repr(check)).replace("_", " ")


def verify(names: Sequence[str] = ()) -> Iterator[ReportLine]:
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
            yield ReportLine(name, paper_of(cls), title(check), found)
