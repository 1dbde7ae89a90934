"""MOCHA against optima that prove themselves: the dual lies below the primal, and where they meet both are solved.

The problem is planted: three directions of which tasks are mixtures, labels with a tenth of them turned. Numbers of (1)
and (2) are computed in numpy from α and from what the clients predict with.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.algorithms.base import first_server
from fedmtl.core.context import context_of
from fedmtl.data.batches import make_batches
from fedmtl.verify.beats_local import Claim
from fedmtl.verify.check import CTX, CheckResult, above, below, close, every
from fedmtl.verify.planted import two_clusters_of_labels

Array = NDArray[np.float64]
HEAD = "head.t.weight"
FIXED = 10**9
"""A number of rounds that is never reached: Σ stays I / T."""


class Client(NamedTuple):
    """One task."""

    x: Array
    """[n, d]."""
    y: Array
    """[n], ±1."""


class Solved(NamedTuple):
    """After some rounds."""

    server: Any
    alpha: list[Array]
    w: Array
    """Models that clients predict with, [T, d]."""


def planted(tasks: int = 4, d: int = 3, seed: int = 0) -> list[Client]:
    """Tasks in pairs: the second of a pair turns to the other side of what the first is."""
    generator = np.random.default_rng(seed)
    base = generator.standard_normal((2, d))
    found = []
    for t in range(tasks):
        x = generator.standard_normal((8 + 3 * t, d))
        w = base[t // 2] * (-1) ** t + 0.2 * generator.standard_normal(d)
        noise = np.where(generator.random(len(x)) < 0.1, -1.0, 1.0)
        found.append(Client(x, np.sign(x @ w) * noise))
    return found


def solve(
    mocha: Any,
    tasks: Sequence[Client],
    rounds: int,
    batch_size: int | None = 4,
    watch: Callable[[Solved], None] | None = None,
) -> Solved:
    """Rounds of all clients, in float64, examples in their order."""
    first = {HEAD: torch.zeros(1, tasks[0].x.shape[1], dtype=torch.float64)}
    server = first_server(mocha, first, dict.fromkeys(range(len(tasks)), first), CTX)
    private: list[Mapping[str, Any]] = [mocha.init_client(first, len(task.x)) for task in tasks]

    def solved() -> Solved:
        models = [mocha.personal_params(mocha.broadcast(server, t, CTX), private[t]) for t in range(len(tasks))]
        w = np.stack([params[HEAD].numpy()[0] for params in models])
        return Solved(server, [state[HEAD].numpy() for state in private], w)

    for round in range(rounds):
        uploads = []
        for t, task in enumerate(tasks):
            batches = make_batches(task.x, {"t": (task.y + 1) / 2}, batch_size, None)
            result = mocha.local_update(None, mocha.broadcast(server, t, CTX), private[t], batches, CTX)
            private[t] = result.private
            uploads.append((t, result.upload))
        server = mocha.aggregate(server, uploads, context_of(seed=1, round=round))
        if watch is not None:
            watch(solved())
    return solved()


def hinge(tasks: Sequence[Client], w: Array) -> float:
    """Σ_t mean_i max(0, 1 − y_i x_iᵀw_t)."""
    return sum(float(np.maximum(0, 1 - t.y * (t.x @ row)).mean()) for t, row in zip(tasks, w, strict=True))


def linear(tasks: Sequence[Client], alpha: Sequence[Array]) -> float:
    """Σ_t mean_i α_i y_i."""
    return sum(float((a * t.y).mean()) for t, a in zip(tasks, alpha, strict=True))


def means(tasks: Sequence[Client], alpha: Sequence[Array]) -> Array:
    """B of (2), [T, d]."""
    return np.stack([a @ t.x / len(t.x) for t, a in zip(tasks, alpha, strict=True)])


def bounds(tasks: Sequence[Client], solved: Solved, lam: float) -> tuple[float, float]:
    """P(W) of what clients predict with, and D(α) = Σ mean α_i y_i − 1/2λ tr(Bᵀ Σ B), both for the server's Σ.

    D is P's dual: max(0, 1 − u) = max over 0 ≤ yα ≤ 1 of αy(1 − u), and the least over W of the rest is at W = ΣB/λ.
    """
    sigma, b = solved.server.sigma.numpy(), means(tasks, solved.alpha)
    primal = hinge(tasks, solved.w) + lam / 2 * float(np.sum(solved.w * (np.linalg.pinv(sigma) @ solved.w)))
    return primal, linear(tasks, solved.alpha) - float(np.sum(b * (sigma @ b))) / 2 / lam


def feasible(tasks: Sequence[Client], alpha: Sequence[Array]) -> CheckResult:
    """0 ≤ yα ≤ 1: else D bounds nothing."""
    worst = max(float(np.abs(t.y * a - 0.5).max()) for t, a in zip(tasks, alpha, strict=True))
    return below(worst, 0.5 + 1e-12)


def unrelated_tasks_meet_their_dual(mocha: Callable[..., Any]) -> CheckResult:
    """Σ = I/T held: P and D meet to 1e-9, each a bound of the other, so both are the optimum; for three λ."""
    parts = []
    for lam in (0.03, 0.1, 1.0):
        tasks = planted()
        solved = solve(mocha(lam=lam, epochs=10, sigma_every=FIXED), tasks, 15)
        primal, dual = bounds(tasks, solved, lam)
        parts += [feasible(tasks, solved.alpha), close(primal, dual, atol=1e-9)]
    return every(*parts)


def related_tasks_meet_their_dual(mocha: Callable[..., Any]) -> CheckResult:
    """Σ is learnt after round 40 and held to round 79; it is far from diagonal.

    All clients step at once from one W, which is safe by ρ alone; P and D meet only if W = ΣB/λ for the new Σ.
    """
    tasks, lam = planted(), 0.3
    solved = solve(mocha(lam=lam, epochs=2, sigma_every=40, floor=0.1), tasks, 79)
    primal, dual = bounds(tasks, solved, lam)
    sigma = solved.server.sigma.numpy()
    return every(
        feasible(tasks, solved.alpha),
        above(float(np.abs(sigma - np.diag(np.diag(sigma))).max()), 0.05),
        close(primal, dual, atol=1e-8),
    )


def the_dual_stays_below_the_primal(mocha: Callable[..., Any]) -> CheckResult:
    """Σ learnt in every round: after each, D ≤ P, as for any α and any W of one Σ; after 40 they are within 1e-2.

    If W were left as it was under the old Σ, P and D would be of different problems, and P − D below 0.
    """
    tasks, lam, gaps = planted(), 0.1, []

    def watch(solved: Solved) -> None:
        primal, dual = bounds(tasks, solved, lam)
        gaps.append(primal - dual)

    solve(mocha(lam=lam, epochs=5, floor=0.01), tasks, 40, watch=watch)
    return every(above(min(gaps), -1e-9), below(gaps[-1], 1e-2), above(gaps[0], 1e-1))


def it_minimises_the_trace_norm(mocha: Callable[..., Any]) -> CheckResult:
    """The least of tr(WᵀΣ⁻¹W) over Σ of trace 1 is ‖W‖²_*, at (5) without κ: so W → argmin hinge + λ/2 ‖W‖²_*.

    Its dual is Σ mean α_i y_i − ‖B‖₂² / 2λ (largest singular value), which the fed α bounds it by. κ = 0.01 keeps it
    from being met quite: the gap falls from about 0.5 to less than 0.03.
    """
    tasks, lam, gaps = planted(), 0.03, []

    def watch(solved: Solved) -> None:
        primal = hinge(tasks, solved.w) + lam / 2 * float(np.linalg.svd(solved.w, compute_uv=False).sum()) ** 2
        spread = float(np.linalg.norm(means(tasks, solved.alpha), 2))
        gaps.append(primal - linear(tasks, solved.alpha) + spread**2 / 2 / lam)

    solve(mocha(lam=lam, epochs=5, floor=0.01), tasks, 40, watch=watch)
    return every(above(min(gaps), 0.0), above(gaps[0], 0.3), below(gaps[-1], 0.03))


def by_hand(
    tasks: Sequence[Client], rounds: int, lam: float, floor: float, epochs: int
) -> tuple[list[Array], Array, Array]:
    """(3) to (7) in numpy, example after example; Σ by the eigenvectors of WWᵀ."""
    count, d = len(tasks), tasks[0].x.shape[1]
    alpha, sigma, b = [np.zeros(len(t.x)) for t in tasks], np.eye(count) / count, np.zeros((count, d))
    w = sigma @ b / lam
    for _ in range(rounds):
        rho = max(np.abs(sigma[t]).sum() / sigma[t, t] for t in range(count))
        for t, task in enumerate(tasks):
            n, delta = len(task.x), np.zeros(d)
            for _ in range(epochs):
                for i, (x, y) in enumerate(zip(task.x, task.y, strict=True)):
                    rest = 1 - y * (x @ (w[t] + rho * sigma[t, t] * delta / lam))
                    new = y * np.clip(y * alpha[t][i] + lam * n * rest / (rho * sigma[t, t] * (x @ x)), 0, 1)
                    delta += (new - alpha[t][i]) * x / n
                    alpha[t][i] = new
            b[t] += delta
        w = sigma @ b / lam
        values, vectors = np.linalg.eigh(w @ w.T)
        root = vectors @ np.diag(np.sqrt(np.clip(values, 0, None))) @ vectors.T
        sigma = (1 - floor) * root / np.trace(root) + floor * np.eye(count) / count
        w = sigma @ b / lam
    return alpha, w, sigma


def three_rounds_by_hand(mocha: Callable[..., Any]) -> CheckResult:
    """Three rounds of two passes: the first with Σ = I/T, the others with what was learnt; α, W and Σ by numpy."""
    tasks, lam, floor = planted(d=6), 0.1, 0.05  # more inputs than tasks: WWᵀ has no eigenvalue 0, whose root is noise
    alpha, w, sigma = by_hand(tasks, 3, lam, floor, 2)
    made = mocha(lam=lam, epochs=2, floor=floor)
    solved = solve(made, tasks, 3)
    return every(
        close(np.concatenate(solved.alpha), np.concatenate(alpha), atol=1e-9),
        close(made.diagnostics(solved.server)["covariance"].numpy(), sigma, atol=1e-9),
        close(solved.w, w, atol=1e-9),
    )


def examples_without_a_label_are_not_looked_at(mocha: Callable[..., Any]) -> CheckResult:
    """Two rounds with two more examples whose label is NaN: the same α elsewhere, the same W; n_t counts the others."""
    tasks = planted()
    longer = [Client(np.concatenate([t.x, t.x[:2] + 1]), np.append(t.y, [np.nan] * 2)) for t in tasks]
    one, other = (solve(mocha(floor=0.05), which, 2) for which in (tasks, longer))
    return every(
        close(np.concatenate([a[:-2] for a in other.alpha]), np.concatenate(one.alpha), atol=1e-12),
        close(np.concatenate([a[-2:] for a in other.alpha]), np.zeros(2 * len(tasks)), atol=0),
        close(other.w, one.w, atol=1e-12),
    )


CHECKS = (
    unrelated_tasks_meet_their_dual,
    related_tasks_meet_their_dual,
    the_dual_stays_below_the_primal,
    it_minimises_the_trace_norm,
    three_rounds_by_hand,
    examples_without_a_label_are_not_looked_at,
)

GAIN = Claim(two_clusters_of_labels, lambda cls: cls(lam=1.0))
