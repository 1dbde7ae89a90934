"""MOCHA's own objective: its distance to the optimum after a number of passes, for several κ.

    python simulations/reproduce/mocha_optimum.py

Smith, Chiang, Sanjabi, Talwalkar. Federated Multi-Task Learning. NeurIPS 2017. arXiv:1705.10467. With Σ learnt, MOCHA
goes to the minimum over W = [w_1, …]ᵀ of a sum of hinges and the squared trace norm:

    P(W) = Σ_t 1/n_t Σ_i max(0, 1 − y_i x_iᵀw_t) + λ/2 ‖W‖²_*                                                     (1)
    D(β) = Σ_t 1/n_t Σ_i β_i − ‖B‖₂² / 2λ,    b_t = 1/n_t Σ_i β_i y_i x_i,   0 ≤ β ≤ 1                            (2)

for the hinge is max β (1 − yxᵀw) over [0, 1], and λ/2 ‖·‖²_* has the conjugate ‖·‖₂² / 2λ, of the spectral norm. Every
W bounds the minimum from above and every β from below. Both come from a solver that has nothing of MOCHA's, FISTA (Beck
and Teboulle 2009) on (1) with the hinge smoothed by μ, in numpy; μ falls until the bounds are close:

    β = clip₀₁((1 − yxᵀw) / μ)               the slope of the smoothed hinge                                      (3)
    prox of τλ/2 (Σ s)² at v:  s_i = max(v_i − c, 0),  c = τλ Σ_{i ≤ k} v_i / (1 + kτλ)      k the active ones    (4)

The data are the 10 % of Landmine that MOCHA's authors publish, 29 fields of 50 signatures or so; with ``--labels 80``,
the training parts of ``landmine.py``.
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from loaders import LANDMINE_SMALL, Landmine, locate
from numpy.typing import NDArray
from scipy.io import loadmat

from fedmtl.algorithms import Mocha
from fedmtl.core.context import context_of
from fedmtl.data.batches import make_batches

Array = NDArray[np.float64]
Fields = Sequence[tuple[Array, Array]]
"""x [n, d] and y [n], −1 or 1, of each."""


class Bounds(NamedTuple):
    """Value of the minimum of (1)."""

    low: float
    high: float


def read() -> Fields:
    raw: dict[str, Any] = loadmat(locate(LANDMINE_SMALL))
    return [
        (x.astype(np.float64), np.sign(y.ravel().astype(np.float64)))
        for x, y in zip(raw["X"].ravel(), raw["Y"].ravel(), strict=True)
    ]


def read_study(labels: int) -> Fields:
    """The training parts of split 0 of ``landmine.py``."""
    clients = Landmine(labels, "results").load(0).clients.values()
    return [(c.train.x.astype(np.float64), 2.0 * c.train.y["mine"] - 1) for c in clients]


def slacks(fields: Fields, w: Array) -> list[Array]:
    """1 − y xᵀw of each example."""
    return [1 - y * (x @ row) for (x, y), row in zip(fields, w, strict=True)]


def primal(fields: Fields, w: Array, lam: float) -> float:
    """(1)."""
    hinges = sum(float(np.maximum(slack, 0).mean()) for slack in slacks(fields, w))
    return hinges + lam / 2 * float(np.linalg.svd(w, compute_uv=False).sum()) ** 2


def rows(fields: Fields, beta: Sequence[Array]) -> Array:
    """B."""
    return np.stack([x.T @ (b * y) / len(y) for (x, y), b in zip(fields, beta, strict=True)])


def dual(fields: Fields, beta: Sequence[Array], lam: float) -> float:
    """(2)."""
    return sum(float(b.mean()) for b in beta) - float(np.linalg.norm(rows(fields, beta), 2)) ** 2 / (2 * lam)


def shrink(v: Array, strength: float) -> Array:
    """(4): argmin ½ ‖s − v‖² + strength/2 (Σ s)² over matrices, with s and v for their singular values."""
    u, s, vt = np.linalg.svd(v, full_matrices=False)
    cuts = strength * np.cumsum(s) / (1 + strength * np.arange(1, len(s) + 1))
    active = int((s > cuts).sum())
    return (u * np.maximum(s - cuts[max(active, 1) - 1], 0)) @ vt


def bounds(fields: Fields, lam: float, steps: int = 1000, levels: int = 5) -> Bounds:
    """FISTA with restarts, for each of some levels of μ, 0.1, 0.03, …, from the last one's W."""
    curvature = max(float(np.linalg.norm(x, 2)) ** 2 / len(x) for x, _ in fields)
    w = np.zeros((len(fields), fields[0][0].shape[1]))
    low, high = -np.inf, np.inf
    for mu in 0.1 / np.sqrt(10) ** np.arange(levels):
        step, ahead, momentum = mu / curvature, w, 1.0
        for _ in range(steps):
            beta = [np.clip(slack / mu, 0, 1) for slack in slacks(fields, ahead)]  # (3)
            new = shrink(ahead + step * rows(fields, beta), step * lam)
            if ((ahead - new) * (new - w)).sum() > 0:  # it goes back: begin anew
                momentum = 1.0
            after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            w, ahead, momentum = new, new + (momentum - 1) / after * (new - w), after
        beta = [np.clip(slack / mu, 0, 1) for slack in slacks(fields, w)]
        low, high = max(low, dual(fields, beta, lam)), min(high, primal(fields, w, lam))
    return Bounds(low, high)


def mocha(fields: Fields, algorithm: Mocha, passes: Sequence[int]) -> list[float]:
    """P after some numbers of passes of fedmtl's MOCHA over all fields."""
    name = "head.mine.weight"
    batches = [make_batches(x.astype(np.float32), {"mine": (y > 0).astype(np.float32)}, None, None) for x, y in fields]
    start = {name: torch.zeros(1, fields[0][0].shape[1])}
    server = algorithm.register_clients(
        algorithm.init_server(start, context_of()), {t: start for t in range(len(fields))}
    )
    private = {t: algorithm.init_client(start, len(y)) for t, (_, y) in enumerate(fields)}
    found = []
    for done in range(1, max(passes) + 1):
        uploads = []
        for t in private:
            private[t], upload, _ = algorithm.local_update(
                _no_loss, algorithm.broadcast(server, t, context_of()), private[t], batches[t], context_of()
            )
            uploads.append((t, upload))
        server = algorithm.aggregate(server, uploads, context_of())
        if done in passes:
            w = np.stack([server.w[str(t)][name].reshape(-1).double().numpy() for t in private])
            found.append(primal(fields, w, algorithm.lam))
    return found


def _no_loss(params: Any, batch: Any) -> torch.Tensor:
    raise RuntimeError("MOCHA asked for a loss, but its own is the hinge.")


def main(
    lam: Annotated[float, typer.Option(help="λ.")] = 0.1,
    labels: Annotated[int, typer.Option(help="Signatures a field of landmine.py; 0: the authors' subset.")] = 0,
    floors: Annotated[list[float] | None, typer.Option(help="κ; default 0, 0.001, 0.01, 0.05, 0.1, 0.2.")] = None,
    passes: Annotated[list[int] | None, typer.Option(help="When P is taken; default 30, 100, 300.")] = None,
    quick: Annotated[bool, typer.Option(help="Few steps and passes, to see that it runs.")] = False,
) -> None:
    start = time.process_time()
    marks = sorted(passes or ((3, 10) if quick else (30, 100, 300)))
    fields = read_study(labels) if labels else read()
    low, high = bounds(fields, lam, *((300, 2) if quick else ()))
    print(f"λ = {lam:g}: the minimum of (1) is in [{low:.5f}, {high:.5f}].\n")
    print(f"| κ | {' | '.join(f'{mark} passes: P' for mark in marks)} | {' | '.join('above' for _ in marks)} |")
    print("|---" * (2 * len(marks) + 1) + "|")
    for floor in floors or ((0.0, 0.05) if quick else (0.0, 0.001, 0.01, 0.05, 0.1, 0.2)):
        values = mocha(fields, Mocha(lam=lam, floor=floor), marks)
        cells = [f"{value:.4f}" for value in values] + [f"{100 * (value / low - 1):.2f} %" for value in values]
        print(f"| {floor:g} | {' | '.join(cells)} |", flush=True)
    print(f"\n{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    typer.run(main)
