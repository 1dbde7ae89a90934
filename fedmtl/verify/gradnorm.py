"""GradNorm by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import Found, close, every
from fedmtl.verify.two_tasks import CONFLICT, LR, Linear, play


def the_first_round_by_hand(gradnorm: Callable[..., Any]) -> Found:
    """w = 1, G = (2, √2), Ḡ = 1 + 1/√2, r = 1: the weights descend on |G_1 − Ḡ| + |G_2 − Ḡ|.

    G_1 = 2 w̃_1 lies above the aim, G_2 = √2 w̃_2 below: the slope by w̃ is (2, −√2); by w, through w̃ = 2w / Σw at w = 1,
    ((2 + √2) / 2, −(2 + √2) / 2). θ moves along the mean of the gradients, as w̃ = 1.
    """
    found = play(gradnorm(), Linear(CONFLICT, np.ones(2)))
    slope = (2 + np.sqrt(2)) / 2
    weights = [found.heads[f"head.t{t}.weight_of_loss"] for t in range(2)]
    return every(
        close(found.theta, -LR * CONFLICT.mean(0), atol=1e-7),
        close(weights, [1 - LR * slope, 1 + LR * slope], atol=1e-6),
    )


def the_second_round_by_hand(gradnorm: Callable[..., Any]) -> Found:
    """From losses (1, 8): L(2) = L(1) − η (1, 0) − η/2, and w̃ = (1 − ηs, 1 + ηs), s = (2 + √2) / 2, of mean 1.

    G = w̃ (2, √2), r = (L(2) / L(1)) / mean, the aim mean(G) r^α; G − aim has the signs (−, +) for α = 1/4, (+, −)
    for 1. The slope by w̃ is signs (2, √2), by w, at w of mean 1, that minus mean(w slope). θ moves along Σ w̃_t a_t / 2.
    """
    s, lengths = (2 + np.sqrt(2)) / 2, np.array([2.0, np.sqrt(2)])
    w = np.array([1 - LR * s, 1 + LR * s])
    rates = np.array([1 - 1.5 * LR, 1 - 0.5 * LR / 8])
    parts = []
    for alpha in (0.25, 1.0):
        aim = (w * lengths).mean() * (rates / rates.mean()) ** alpha
        slope = np.sign(w * lengths - aim) * lengths
        after = w - LR * (slope - (w * slope).mean())
        found = play(gradnorm(alpha=alpha), Linear(CONFLICT, np.array([1.0, 8.0])), rounds=2)
        parts.append(close(found.theta, -LR * CONFLICT.mean(0) - LR * (w @ CONFLICT) / 2, atol=1e-6))
        parts.append(close([found.heads[f"head.t{t}.weight_of_loss"] for t in range(2)], after, atol=1e-6))
    return every(*parts)


CHECKS = (the_first_round_by_hand, the_second_round_by_hand)
