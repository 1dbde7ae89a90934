"""ServerGradientSurgery: its rule is that of its named settings, and combines the cohort's updates."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CheckResult, close
from fedmtl.verify.fixed_updates import LR, planted
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.quadratic import play
from fedmtl.verify.server_cagrad import CHECKS as CAGRAD_CHECKS
from fedmtl.verify.server_pcgrad import CHECKS as PCGRAD_CHECKS
from fedmtl.weightings import CAGrad, PCGrad


def two_by_pcgrad(surgery: Callable[..., Any]) -> CheckResult:
    """Δ_1 = (1, 0, 0), Δ_2 = (−1, 1, 0), of 6 and 10 examples. ⟨Δ_1, Δ_2⟩ = −1: u_1 = Δ_1 + ½ Δ_2 = (½, ½, 0) and
    u_2 = Δ_2 + Δ_1 = (0, 1, 0), so U = ⅜ u_1 + ⅝ u_2 = (3/16, 13/16, 0)."""
    federation = planted([[1, 0, 0, 0, 0], [-1, 1, 0, 0, 0]], [6, 10])
    found = play(surgery(rule=PCGrad(), lr=LR, epochs=1), federation, np.zeros(5), 1)
    return close(found.personal[:, :3], [[3 / 16, 13 / 16, 0]] * 2, atol=1e-12)


def one_by_cagrad(surgery: Callable[..., Any]) -> CheckResult:
    """With one client g_0 = Δ, and the best u within c‖Δ‖ of it is (1 + c) Δ, c = ½."""
    found = play(surgery(rule=CAGrad(0.5), lr=LR, epochs=1), planted([[1, -2, 0.5, 0, 0]], [4]), np.zeros(5), 1)
    return close(found.personal[0, :3], [1.5, -3.0, 0.75], atol=1e-9)


def the_checks_of_server_pcgrad_hold(surgery: Callable[..., Any]) -> CheckResult:
    """All golden checks of ServerPCGrad, derived there, with the rule PCGrad(): the first that fails is shown."""
    return _first_failed(PCGRAD_CHECKS, lambda **fields: surgery(rule=PCGrad(), **fields))


def the_checks_of_server_cagrad_hold(surgery: Callable[..., Any]) -> CheckResult:
    """All golden checks of ServerCAGrad, derived there, with the rule CAGrad(c): the first that fails is shown."""
    return _first_failed(CAGRAD_CHECKS, lambda c=0.4, **fields: surgery(rule=CAGrad(c), **fields))


def _first_failed(checks: Any, make: Callable[..., Any]) -> CheckResult:
    found = [check(make) for check in checks]
    return next((one for one in found if not one.passed), found[-1])


CHECKS = (
    two_by_pcgrad,
    one_by_cagrad,
    the_checks_of_server_pcgrad_hold,
    the_checks_of_server_cagrad_hold,
)

GAIN = Claim(one_subspace, steps(lr=0.05))
