"""Every golden check passes, and fails when the update is broken."""

import gc
import os
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from fedmtl.registry.components import REGISTRY
from fedmtl.verify.check import Check, CheckResult
from fedmtl.verify.lookup import class_of
from fedmtl.verify.registry import checks_of, names_of_all, paper_of, title
from tests.verify.mutants import mutants

ALL = [(name, check) for name in names_of_all() for check in checks_of(name)]

EQUIVALENT: dict[str, tuple[str, ...]] = {
    # A refusal, which tests/algorithms hold: no update passes through it.
    "FedAMP": ("if not any(select(params",),
    # Scales beyond those of a part are left out.
    "FP8": ("count = blocks.count(",),
    # Which of two ways finds the same places sooner.
    "RandK": (
        "middle, beside =",
        "taken, around =",
        "around ^=",
        "taken, around =",
        "around ^=",
        "left = k -",
        "if not 0 <= left",
    ),
    # Bounds that no packet comes near, or that a later one repeats; the precision of a product.
    "QSGD": (
        *("if place + HEAD", "if count > numbers", "numbers = min(CHUNK", "if negative.size <", "kind = np.float32"),
        *("z = np.arange", 'f"an index of', "numbers begin, of which"),
        "return 2 * levels + negative",  # 2 q - 1 tells symbols apart as well
    ),
    "GolombTopK": ("check_most(",),
    # The protocol's, without code: HeteroFL has the methods of whatever it wraps.
    "HeteroFL": ("Algorithm: aggregate: return server",),
    # Its server keeps nothing.
    "Local": ("aggregate: return server",),
}
"""Algorithm -> words of lines whose change gives the same update, with the reason beside."""


@cache
def checked(name: str, check: Check) -> tuple[CheckResult, float]:
    """Return what the check finds of its own class, and in how many seconds."""
    cls = class_of(name)
    gc.disable()  # a collection takes longer than most checks, and would move a quick one behind the slow ones
    try:
        start = time.process_time()
        return check(cls), time.process_time() - start
    finally:
        gc.enable()


@pytest.mark.parametrize(("name", "check"), ALL, ids=[f"{name}-{check.__name__}" for name, check in ALL])  # type: ignore
def test_check(name: str, check: Check) -> None:
    found, _ = checked(name, check)
    assert found.passed, f"expected {found.expected}, got {found.got}"


def test_every_check_says_how_its_number_is_derived() -> None:
    for name, check in ALL:
        assert len((check.__doc__ or "").split()) >= 8, f"{name}: {title(check)}"


@pytest.mark.parametrize("name", names_of_all())
def test_every_algorithm_names_its_paper(name: str) -> None:
    assert len(paper_of(class_of(name))) > 10


def fails(check: Check, cls: Callable[..., Any]) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: CheckResult = check(cls)
    except Exception:
        return True
    return not found.passed


@pytest.mark.parametrize("name", names_of_all())
def test_a_broken_update_is_caught(name: str) -> None:
    """By one of the algorithm's own checks, whichever line of the update is broken; at least three are. The quickest
    check comes first: most changes are caught by one step by hand, and need no run to a minimum."""
    caught, missed = 0, []
    checks = sorted(checks_of(name), key=lambda check: checked(name, check)[1])
    for mutant in mutants(class_of(name)):
        if any(words in mutant.what for words in EQUIVALENT.get(name, ())):
            continue  # no check would end early
        if any(fails(check, mutant.cls) for check in checks):
            caught += 1
        else:
            missed.append(mutant.what)
    if os.environ.get("SHOW_MUTANTS"):
        print(caught, missed)
    assert caught >= (3 if name in REGISTRY["algorithm"] else 0) and not missed
