"""The planted problems: every algorithm is in the table, and one that does not share does not pass."""

import numpy as np
import pytest
import torch

from fedmtl.algorithms import Local
from fedmtl.registry.components import REGISTRY
from fedmtl.verify.beats_local import (
    MARGIN,
    Claim,
    alone,
    gain_of,
    learn,
    what_is_in_common_is_learnt_better_than_alone,
)
from fedmtl.verify.planted import EXAMPLES, INPUTS, one_mean
from fedmtl.verify.registry import checks_of

CLAIMS = {name: gain for name in REGISTRY["algorithm"] if isinstance(gain := gain_of(name), Claim)}
"""Algorithm -> where its paper says that it gains."""


def test_every_algorithm_claims_a_gain_or_says_why_not() -> None:
    assert len(CLAIMS) >= 29 and all(gain_of(name) for name in REGISTRY["algorithm"])
    for name in REGISTRY["algorithm"]:
        assert (what_is_in_common_is_learnt_better_than_alone in checks_of(name)) is (name in CLAIMS)


PROBLEMS = {claim.problem.__name__: claim.problem for claim in CLAIMS.values()}


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_local_itself_does_not_pass(name: str) -> None:
    problem = PROBLEMS[name]
    planted = problem()
    assert learn(Local(lr=planted.lr), planted, 10)[-1] >= alone(problem) > MARGIN * alone(problem)


def test_what_local_loses_is_what_its_examples_do_not_span() -> None:
    """The part of w*_k − start in the complement of the span of X_k, by numpy's QR: no round's risk is below its mean,
    and that is half of ‖w*‖², as the derivation says, to a fifth of it."""
    planted = one_mean()
    x, start = planted.batch()["x"].numpy(), planted.start["trunk.w"].numpy()
    lost = []
    for rows, star in zip(x, planted.stars, strict=True):
        span = np.linalg.qr(rows.T)[0]
        gap = star - start
        lost.append(np.square(gap - span @ (span.T @ gap)).sum())
    share = 1 - EXAMPLES / INPUTS
    assert alone(one_mean) > np.mean(lost)
    assert np.mean(lost) == pytest.approx(share * np.square(planted.stars).sum(1).mean(), rel=0.2)


def test_the_risk_is_that_of_new_examples() -> None:
    """(2) against a mean over 200,000 drawn examples of one client, to 2 %: its standard error is 0.3 %."""
    planted = one_mean()
    one = planted._replace(stars=planted.stars[:1])
    w, b = np.linspace(-1, 1, INPUTS), 0.5
    x = np.random.default_rng(0).standard_normal((200_000, INPUTS))
    drawn = np.square(x @ w + b - x @ one.stars[0]).mean()
    assert one.risk([lambda z: z @ torch.tensor(w) + b]) == pytest.approx(drawn, rel=0.02)
