"""FedRep on linear tasks that share a subspace: how fast is it found, and does FedAvg find it?

    python simulations/reproduce/fedrep_subspace.py --seeds 5

Collins, Hassani, Mokhtari, Shakkottai. Exploiting Shared Representations for Personalized Federated Learning.
ICML 2021. arXiv:2102.07078. With V [d, k] orthonormal, heads u_i of norm 1 and inputs X_i [m, d] of N(0, 1):

    y_i  = X_i V u_i                                         without noise                                        (1)
    h_i  = argmin_h ‖X_i B h − y_i‖²                         the exact head                                       (2)
    B    = QR(B − s Σ_i X_iᵀ (X_i B h_i − y_i) h_iᵀ / m)     s = .01                                              (3)
    dist = ‖(I − B Bᵀ) V‖₂                                   the sine of the largest principal angle              (4)

(2) and (3) are run in numpy, as they stand; fedmtl's FedRep, FedPer and FedAvg run on the same data.

What to expect at the end: with B = V + Δ, VᵀΔ = 0, and S_i = X_iᵀX_i / m, (2) and (3) to first order in Δ are

    Δ   <- Δ − s Σ_i M_i Δ u_i u_iᵀ      M_i = S_i − S_i V (VᵀS_i V)⁻¹ VᵀS_i                                      (5)

for a first-order change of h_i takes from X_i Δ u_i what lies in the columns of X_i V, and the QR is of second order.
Each round then multiplies the distance by the spectral radius of (5), which the data say before anything is trained.

The model holds B as c P: a step of η on the mean square, averaged over n clients, moves B by 2 η c² / n of the sum in
(3), and by η alone the heads; c² = s n / 2η makes the trunk's step the recipe's.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from loaders import once
from numpy.typing import NDArray
from summary import Row, table
from torch import Tensor, nn

from fedmtl import ClientData, Experiment, FedAvg, Federation, FedPer, FedRep, Regression, Split, VMap, run

Array = NDArray[np.float64]

STEP = 0.01
"""s."""


class Problem(NamedTuple):
    V: Array
    """[d, k]."""
    heads: Array
    """u_i, [n, k]."""
    x: Array
    """[n, m, d]."""
    y: Array
    """[n, m]."""
    start: Array
    """The recipe's first B."""


@dataclass(frozen=True)
class Planted:
    """Every client's task is a linear function of the same ``features`` combinations of the inputs."""

    clients: int = 100
    """n."""
    samples: int = 10
    """m; as many again are tested on."""
    dim: int = 20
    """d."""
    features: int = 2
    """k."""

    def problem(self, seed: int) -> Problem:
        draw = np.random.default_rng(seed)
        V = np.linalg.qr(draw.standard_normal((self.dim, self.features)))[0]
        heads = draw.standard_normal((self.clients, self.features))
        heads /= np.linalg.norm(heads, axis=1, keepdims=True)
        x = draw.standard_normal((self.clients, 2 * self.samples, self.dim))
        y = np.einsum("nmd,dk,nk->nm", x, V, heads)  # (1)
        start = np.linalg.qr(draw.standard_normal((self.dim, self.features)))[0]
        return Problem(V, heads, x, y, start)

    def load(self, seed: int) -> Federation:
        problem, m = self.problem(seed), self.samples
        clients = {
            i: ClientData(Split(x[:m], {"t": y[:m]}), Split(x[m:], {"t": y[m:]}))
            for i, (x, y) in enumerate(zip(problem.x, problem.y, strict=True))
        }
        return Federation({"t": Regression()}, (self.dim,), clients)


class Times(nn.Module):
    """A fixed factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


@dataclass(frozen=True)
class Subspace:
    """x -> hᵀ (c P) x: the trunk starts at a random orthonormal B = c P, heads at 0."""

    features: int
    """k."""
    factor: float
    """c."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        linear = nn.Linear(input_shape[0], self.features, bias=False)
        nn.init.orthogonal_(linear.weight, gain=1 / self.factor)
        return nn.Sequential(linear, Times(self.factor))

    def head(self, features: int, outputs: int) -> nn.Module:
        head = nn.Linear(features, outputs, bias=False)
        nn.init.zeros_(head.weight)
        return head


def distance(problem: Problem, basis: Array) -> float:
    """(4), of the columns' span."""
    q = np.linalg.qr(basis)[0]
    return float(np.linalg.norm(problem.V - q @ (q.T @ problem.V), 2))


def recipe(problem: Problem, samples: int, rounds: int, step: float = STEP) -> list[float]:
    """The distance before the first round and after each, by (2) and (3)."""
    x, y, basis = problem.x[:, :samples], problem.y[:, :samples], problem.start
    found = [distance(problem, basis)]
    for _ in range(rounds):
        total = np.zeros_like(basis)
        for inputs, targets in zip(x, y, strict=True):
            head = np.linalg.lstsq(inputs @ basis, targets, rcond=None)[0]  # (2)
            total += np.outer(inputs.T @ (inputs @ basis @ head - targets), head) / samples
        q, r = np.linalg.qr(basis - step * total)  # (3)
        basis = q * np.sign(np.diag(r))
        found.append(distance(problem, basis))
    return found


def asymptotic_factor(problem: Problem, samples: int, step: float = STEP) -> float:
    """The spectral radius of (5), on the complement of V."""
    dim, k = problem.V.shape
    W = np.linalg.svd(problem.V)[0][:, k:]
    total = np.eye((dim - k) * k)
    for x, u in zip(problem.x[:, :samples], problem.heads, strict=True):
        S, V = x.T @ x / samples, problem.V
        M = S - S @ V @ np.linalg.solve(V.T @ S @ V, V.T @ S)
        total -= step * np.kron(W.T @ M @ W, np.outer(u, u))
    return float(np.abs(np.linalg.eigvalsh(total)).max())


def theorem(problem: Problem) -> tuple[float, float]:
    """Theorem 1's largest step η = 1 / 4σ²_max, as s = η / n, and its bound of a round's factor.

    The bound is (1 − η E₀ σ²_min / 2)^½; σ² are the eigenvalues of Σ u_i u_iᵀ / n, E₀ = 1 − dist² of the start.
    """
    n = len(problem.heads)
    least, *_, largest = np.linalg.eigvalsh(problem.heads.T @ problem.heads / n)
    eta = 1 / (4 * largest)
    return eta / n, float(np.sqrt(1 - eta * (1 - distance(problem, problem.start) ** 2) * least / 2))


def trained(data: Planted, algorithm: Any, rounds: int, seed: int, lr: float) -> tuple[float, float]:
    """Distance of the trunk after a number of rounds, and the error (rmse) on the clients' own test examples."""
    factor = float(np.sqrt(STEP * data.clients / (2 * lr)))
    experiment = Experiment(
        name="subspace",
        data=data,
        model=Subspace(data.features, factor),
        algorithm=algorithm,
        rounds=rounds,
        batch_size=0,
        evaluate_every=rounds,
        seed=seed,
        runtime="InProcess",
        engine=VMap(chunk=data.clients),
    )
    result = run(experiment)
    basis = result.state["trunk.0.weight"].double().numpy().T
    return distance(data.problem(seed), basis), result.summary["tasks"]["t"]["value"]


def log10(values: Sequence[float]) -> list[float]:
    return [float(np.log10(value)) for value in values]


def main(
    seeds: Annotated[int, typer.Option(help="How many problems, from seed 0.")] = 5,
    lr: Annotated[float, typer.Option(help="η of the heads; curvatures are below 8, so less than 0.25.")] = 0.2,
    head_epochs: Annotated[int, typer.Option(help="Full-batch steps of the heads, in FedRep.")] = 60,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer clients and rounds, to see that it runs.")] = False,
) -> None:
    began = time.process_time()
    data = Planted(dim=8) if quick else Planted()
    marks = (30,) if quick else (10, 25, 50, 100)
    slow = marks if quick else (100, 400)
    methods = {
        f"FedRep, {head_epochs} head steps": (FedRep(lr=lr, head_epochs=head_epochs, trunk_epochs=1), marks),
        "FedRep, 1 head step": (FedRep(lr=lr, head_epochs=1, trunk_epochs=1), marks),
        "FedPer, 1 step": (FedPer(lr=lr, epochs=1), marks),
        "FedAvg, 1 step": (FedAvg(lr=lr, epochs=1), slow),
        "FedAvg, 10 steps": (FedAvg(lr=lr / 10, epochs=10), slow),
    }
    problems = [data.problem(seed) for seed in range(seeds)]
    exact = [recipe(problem, data.samples, marks[-1]) for problem in problems]

    rows = [Row(f"(2), (3) in numpy, round {mark}", log10([path[mark] for path in exact])) for mark in (0, *marks)]
    errors = []
    for name, (algorithm, own_marks) in methods.items():
        for mark in own_marks:
            runs = [once(kept, trained, data, algorithm, mark, seed, lr) for seed in range(seeds)]
            rows.append(Row(f"{name}, round {mark}", log10([run[0] for run in runs])))
            if mark == own_marks[-1]:
                errors.append(Row(f"{name}, round {mark}", [run[1] for run in runs]))
    print(table("log10 of the distance", rows, 2), end="\n\n")
    print(table("rmse on new examples", errors), end="\n\n")

    allowed = [theorem(problem) for problem in problems]
    ends = {f"s = {STEP}": [STEP] * seeds, "Theorem 1's largest step": [step for step, _ in allowed]}
    factors = []
    for name, steps in ends.items():
        known = list(zip(problems, steps, strict=True))
        rounds = 2 * marks[-1] if steps[0] < STEP / 2 else marks[-1]  # to the end, but not to float64's end
        paths = [recipe(problem, data.samples, rounds, step) for problem, step in known]
        measured = [(path[-1] / path[rounds // 2]) ** (1 / (rounds - rounds // 2)) for path in paths]
        factors.append(Row(f"{name}: rounds {rounds // 2} to {rounds}", measured))
        factors.append(
            Row(f"{name}: spectral radius of (5)", [asymptotic_factor(p, data.samples, s) for p, s in known])
        )
    factors.append(Row("Theorem 1's bound at that step", [bound for _, bound in allowed]))
    print(table("factor of a round", factors), f"\n\n{time.process_time() - began:.0f} s of processor")


if __name__ == "__main__":
    typer.run(main)
