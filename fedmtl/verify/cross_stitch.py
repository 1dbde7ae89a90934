"""CrossStitch against its two limits, autograd and rounds by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.common.stitching import simplex
from fedmtl.algorithms.fedper import FedPer
from fedmtl.algorithms.local import Local
from fedmtl.core.types import Upload
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, above, close, every, same_bits
from fedmtl.verify.fixed_updates import enrolled
from fedmtl.verify.penalty_gradient import LR, Penalty
from fedmtl.verify.planted import two_clusters
from fedmtl.verify.quadratic import Array, Quadratic, clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])


def started(count: int, mix: float) -> Array:
    """The first A: ε/K everywhere, and 1 − ε more on the diagonal."""
    return np.full((count, count), mix / count) + (1 - mix) * np.eye(count)


def nearest(row: Array) -> Array:
    """The nearest row ≥ 0 of sum 1: max(v − τ, 0), with τ found by halving, as the sum falls with τ."""
    low, high = float(row.min()) - 1, float(row.max())
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(row - middle, 0, None).sum() > 1 else (low, middle)
    return np.clip(row - (low + high) / 2, 0, None)


def without_a_mix_it_is_local(stitch: Callable[..., Any]) -> CheckResult:
    """ε = ζ = 0: A is I, and 1 θ_k + Σ 0 θ_l is θ_k, so 3 rounds of 2 epochs of 2 steps have Local's bits."""
    found = play(stitch(lr=0.125, epochs=2, mix=0.0, rate=0.0), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(Local(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def an_even_mix_is_fedper(stitch: Callable[..., Any]) -> CheckResult:
    """ε = 1, ζ = 0: A_kl = 1/K, so all clients receive 1/K Σ θ_l: FedPer's mean where all n_k are equal."""
    equal = [one._replace(num_examples=8) for one in clients()]
    found = play(stitch(lr=0.125, epochs=2, mix=1.0, rate=0.0), equal, START, 3, steps=2)
    return close(found.personal, play(FedPer(lr=0.125, epochs=2), equal, START, 3, steps=2).personal, atol=1e-12)


def three_rounds_by_hand(stitch: Callable[..., Any]) -> CheckResult:
    """(1) to (3) in numpy, 2 epochs of 2 steps; ε = 0.6 and ζ = 0.4, so that A moves by more than a hundredth. Before
    the first round A_kl is 0.15, and A_kk 0.55."""
    federation, lr, mix, rate = clients(4), 0.125, 0.6, 0.4
    made = stitch(lr=lr, epochs=2, mix=mix, rate=rate)
    found = play(made, federation, START, 3, steps=2)
    a, theta, w = started(4, mix), np.tile(START[:3], (4, 1)), np.tile(START, (4, 1))
    for _ in range(3):
        received = w.copy()
        for _ in range(4):
            w = w - lr * np.stack([one.gradient(own) for one, own in zip(federation, w, strict=True)])
        gain = (w - received)[:, :3] @ theta.T
        a = np.stack([nearest(row) for row in a + rate * gain])
        theta = w[:, :3].copy()
        w[:, :3] = a @ theta
    return every(
        close(made.diagnostics(play(made, federation, START, 0).server)["mix"], 0.15 + 0.4 * np.eye(4), atol=1e-12),
        above(float(np.abs(a - started(4, mix)).max()), 0.01),
        close(made.diagnostics(found.server)["mix"], a, atol=1e-10),
        close(found.personal, w, atol=1e-10),
    )


def the_mix_descends_on_the_clients_loss(stitch: Callable[..., Any]) -> CheckResult:
    """One full-batch step: A_k· + ζη (−∂f_k/∂A_k·) and to the simplex, with ∂f_k/∂A by autograd of f_k(Σ_l A_kl θ_l).

    θ_l are four trunks that one round of 3 steps has made different; A is what it was then, since ζ is 0 in that round.
    """
    federation, lr, rate = clients(4), 0.25, 0.3
    before = play(stitch(lr=lr, epochs=3, mix=0.8, rate=0.0), federation, START, 1)
    theta = torch.stack([before.server.trunks[str(k)]["trunk.w"] for k in range(4)])
    a = torch.tensor(started(4, 0.8), requires_grad=True)
    heads = [before.private[k]["head.t.b"] for k in range(4)]
    losses = [
        one.loss({"trunk.w": a[k] @ theta, "head.t.b": heads[k]}, one.batches(1)[0]) for k, one in enumerate(federation)
    ]
    torch.stack(losses).sum().backward()
    assert a.grad is not None
    expected = [nearest(row) for row in (a - rate * lr * a.grad).detach().numpy()]
    made = stitch(lr=lr, epochs=1, mix=0.8, rate=rate)
    sent = [
        (
            k,
            made.local_update(
                one.loss, made.broadcast(before.server, k, CTX), before.private[k], one.batches(1), CTX
            ).upload,
        )
        for k, one in enumerate(federation)
    ]
    return close(made.diagnostics(made.aggregate(before.server, sent, CTX))["mix"], np.stack(expected), atol=1e-10)


def layers_have_mixes_of_their_own(stitch: Callable[..., Any]) -> CheckResult:
    """Two clients, layers a (weight and bias) and b, all 1; ε = 1, ζ = 1. First both send other trunks: all Δ alike for
    l = 0, 1, as all θ_l are 1, so A stays ½. Then client 0 alone moves, by 0.1 in a.bias.

    a: θ_0 = (3, 1), θ_1 = (1, 1.5) as (weight, bias); ⟨Δ, θ_l⟩ is 0.1 and 0.15: row 0 is (½ − 0.025, ½ + 0.025). b: no
    Δ, ½ each. Row 1 is not touched. The mean over layers of A_00 is 0.4875. Sent is then, of a.weight, 0.475 · 2 +
    0.525 · 1 = 1.475 to 0 where it sends 2, its mix, and 1.5 to 1; of b, with 5 and 3, 4.
    """
    names = ("trunk.a.weight", "trunk.a.bias", "trunk.b.weight")

    def trunk(*values: float) -> dict[str, torch.Tensor]:
        return {name: torch.tensor([value], dtype=torch.float64) for name, value in zip(names, values, strict=True)}

    made = stitch(mix=1.0, rate=1.0)
    server = enrolled(made, [0, 1], trunk(1, 1, 1))
    sent = {0: trunk(3, 1, 5), 1: trunk(1, 1.5, 3)}
    server = made.aggregate(server, [(k, Upload({"trunk": one}, 4.0)) for k, one in sent.items()], CTX)
    server = made.aggregate(server, [(0, Upload({"trunk": trunk(2, 1.35, 4)}, 4.0))], CTX)
    broadcasts = [[float(made.broadcast(server, k, CTX)["trunk"][name]) for name in names] for k in (0, 1)]
    bias = (0.475 * 1.35 + 0.525 * 1.5, (1.35 + 1.5) / 2)
    return every(
        close(made.diagnostics(server)["mix"], [[0.4875, 0.5125], [0.5, 0.5]], atol=1e-12),
        close(broadcasts, [[1.475, bias[0], 3.5], [1.5, bias[1], 3.5]], atol=1e-12),
    )


def the_nearest_row_is_found(stitch: Callable[..., Any]) -> CheckResult:
    """Rows by hand: (0.9, 0.4, −1): τ = 0.15, (0.75, 0.25, 0); (3, 0, 0): (1, 0, 0); (0, 0, 0): thirds; one that fits
    stays. And ζ = 10⁶ leaves rows ≥ 0 of sum 1."""
    v = [[0.9, 0.4, -1], [3, 0, 0], [0, 0, 0], [0.25, 0.25, 0.5]]
    rows = [[0.75, 0.25, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.25, 0.25, 0.5]]
    made = stitch(lr=0.125, epochs=1, rate=1e6)
    mix = made.diagnostics(play(made, clients(), START, 2).server)["mix"].numpy()
    return every(
        close(simplex(torch.tensor(v, dtype=torch.float64)), rows, atol=1e-12),
        close(mix.sum(1), np.ones(3), atol=1e-9),
        above(float(mix.min()), -1e-12),
    )


def strangers_part(stitch: Callable[..., Any]) -> CheckResult:
    """Clients 0, 1 with w* = m and 2, 3 with w* = −m, ‖m‖² = 3, H = I: a step leads k from its mix towards ±m, so
    ⟨Δ_k, θ_l⟩ is larger for its own kind. In the end A is 0 between the two kinds, and all are at their w*.

    Were A held at ε/K, trunks would stop short of w*: where Δ balances the mix.
    """
    star = np.array([1.0, 1, 1, 0, 0])
    federation = [Quadratic(np.eye(5), sign * star, 8) for sign in (1, 1, -1, -1)]
    made = stitch(lr=0.25, epochs=1, mix=0.5, rate=0.5)
    found = play(made, federation, 0.1 * START, 100)
    mix = made.diagnostics(found.server)["mix"].numpy()
    held = play(stitch(lr=0.25, epochs=1, mix=0.5, rate=0.0), federation, 0.1 * START, 100)
    return every(
        close(mix[:2, 2:], np.zeros((2, 2)), atol=1e-12),
        close(mix[2:, :2], np.zeros((2, 2)), atol=1e-12),
        close(found.personal, np.stack([one.star for one in federation]), atol=1e-6),
        above(float(np.abs(held.personal - found.personal).max()), 0.3),
    )


CHECKS = (
    without_a_mix_it_is_local,
    an_even_mix_is_fedper,
    three_rounds_by_hand,
    the_mix_descends_on_the_clients_loss,
    layers_have_mixes_of_their_own,
    the_nearest_row_is_found,
    strangers_part,
)

GAIN = Claim(two_clusters, steps(rate=0.03))

# Mixed by ½ ε of the other, twice: (1 − ε)².
PENALTY = Penalty(lambda cls: cls(lr=LR, epochs=1, mix=0.2, rate=0.0), 0.8**2, 1.0)
