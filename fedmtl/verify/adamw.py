"""AdamW against the paper's algorithm in numpy, and where the answer is a closed form."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.verify.check import CheckResult, close
from fedmtl.verify.descent import LR, ONE, START, descend, padding_is_inert


def twenty_steps_of_the_paper(adamw: Callable[..., Any]) -> CheckResult:
    """Algorithm 2 with its bias corrections 1 − βᵗ, in numpy, for every hyper-parameter other than its default."""
    beta1, beta2, eps, decay, w = 0.8, 0.95, 1e-2, 0.3, START
    m, v = np.zeros(5), np.zeros(5)
    for t in range(1, 21):
        g = ONE.gradient(w)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        corrected = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
        w = w - LR * (corrected + decay * w)
    return close(descend(adamw(beta1=beta1, beta2=beta2, eps=eps, weight_decay=decay), 20), w, atol=1e-11)


def a_first_step_is_the_sign_of_the_gradient(adamw: Callable[..., Any]) -> CheckResult:
    """m/a = g and v/b = g², so d = g / (|g| + ε): with ε = 1e-12, η in every number, whatever β₁ and β₂."""
    w = descend(adamw(beta1=0.9, beta2=0.999, eps=1e-12, weight_decay=0.0), 1)
    return close(w, START - LR * np.sign(ONE.gradient(START)), atol=1e-10)


def the_decay_is_not_divided(adamw: Callable[..., Any]) -> CheckResult:
    """At w* the gradient is 0, so that m = v = 0 and w¹ = (1 − ηλ)w*; a penalty in g would give w* − η sign w*."""
    w = descend(adamw(weight_decay=0.5), 1, start=ONE.star)
    return close(w, (1 - LR * 0.5) * ONE.star, atol=1e-12)


def a_padded_batch_changes_nothing(adamw: Callable[..., Any]) -> CheckResult:
    """The moments would shrink and the sums of weights grow: padded batches leave no bit different even so."""
    return padding_is_inert(adamw())


CHECKS = (
    twenty_steps_of_the_paper,
    a_first_step_is_the_sign_of_the_gradient,
    the_decay_is_not_divided,
    a_padded_batch_changes_nothing,
)
