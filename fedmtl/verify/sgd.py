"""SGD by hand."""

from collections.abc import Callable
from typing import Any

from fedmtl.verify.check import CheckResult, close
from fedmtl.verify.descent import by_hand, descend, padding_is_inert, same_as


def three_steps_by_hand(sgd: Callable[..., Any]) -> CheckResult:
    """w <- w − ηH(w − w*), three times, in numpy."""
    return close(descend(sgd(), 3), by_hand(lambda g, w: g, 3), atol=1e-12)


def it_is_what_runs_without_an_optimiser(sgd: Callable[..., Any]) -> CheckResult:
    """The same bits as with none given, after five steps."""
    return same_as(sgd(), None)


def a_padded_batch_changes_nothing(sgd: Callable[..., Any]) -> CheckResult:
    """Padded batches between real ones leave no bit of w different."""
    return padding_is_inert(sgd())


CHECKS = (three_steps_by_hand, it_is_what_runs_without_an_optimiser, a_padded_batch_changes_nothing)
