"""FedEM on its own synthetic set: clients whose data are mixtures of three linear concepts.

    python simulations/reproduce/fedem_synthetic.py --seeds 5

Marfoq, Neglia, Bellet, Kameni, Vidal. Federated Multi-Task Learning under a Mixture of Distributions. NeurIPS 2021.
arXiv:2108.10252. As the authors' generator has it, with T clients and M = 3 concepts in d = 150 dimensions:

    θ_m ~ U[−1, 1]^d         π_k ~ Dirichlet(0.4, …, 0.4)         n_k = min(50 + ⌊exp(4 + 2 ε)⌋, 1000), ε ~ N(0, 1)  (1)
    x ~ U[−1, 1]^d           z ~ π_k                              y = [x·θ_z + 0.1 ε > 0]                            (2)

Nobody can be right more often than who knows Θ and π_k and lets the concepts vote:

    ŷ = [Σ_m π_km Φ(x·θ_m / 0.1) > ½]        Φ the normal distribution function                                      (3)
    ŷ = [x·θ_m > 0], m = argmax π_k          the best that one linear model of each client could do                  (4)

(4) is what M shared models without a mixture (IFCA) aim at. Learning rates were chosen for each method by
``--tune``, on a federation of another seed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from loaders import once
from numpy.typing import NDArray
from scipy.special import ndtr
from summary import Row, paired, table
from torch import nn

from fedmtl import Binary, ClientData, Experiment, FedAvg, Federation, Local, Split, run
from fedmtl.algorithms import IFCA, Ditto, FedEM, FedProx, PFedMe

Array = NDArray[np.float64]

NOISE = 0.1
BATCH = 128
TUNED_ON = 1000
"""The seed of the federation that learning rates are chosen on; results are of seeds from 0."""


class Concepts(NamedTuple):
    theta: Array
    """[M, d]."""
    pi: Array
    """π_k, [T, M]."""
    sizes: NDArray[np.int64]
    """n_k, [T]."""


@dataclass(frozen=True)
class Mixtures:
    clients: int = 300
    """T."""
    tests: int = 200
    """Test examples of a client."""
    dim: int = 150
    """d."""
    components: int = 3
    """M."""
    alpha: float = 0.4

    def concepts(self, seed: int) -> Concepts:
        """(1)."""
        draw = np.random.default_rng(seed)
        sizes = np.minimum(50 + draw.lognormal(4, 2, self.clients).astype(np.int64), 1000)
        pi = draw.dirichlet(np.full(self.components, self.alpha), self.clients)
        return Concepts(draw.uniform(-1, 1, (self.components, self.dim)), pi, sizes)

    def load(self, seed: int) -> Federation:
        concepts = self.concepts(seed)
        clients = {}
        for client, size in enumerate(concepts.sizes):
            draw = np.random.default_rng([seed, client])
            x = draw.uniform(-1, 1, (size + self.tests, self.dim))
            z = draw.choice(self.components, len(x), p=concepts.pi[client])
            y = np.einsum("nd,nd->n", x, concepts.theta[z]) + NOISE * draw.standard_normal(len(x)) > 0  # (2)
            clients[client] = ClientData(
                *(Split(x[part], {"y": y[part]}) for part in np.split(np.arange(len(x)), [size]))
            )
        return Federation({"y": Binary()}, (self.dim,), clients)


@dataclass(frozen=True)
class Logistic:
    """Linear, with torch's random start: models that all began at 0 would stay equal under FedEM and IFCA."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return nn.Flatten()

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Linear(features, outputs)


class Score(NamedTuple):
    weighted: float
    """Mean accuracy over clients, by their training examples: the paper's average."""
    decile: float
    """The accuracy that a tenth of the clients do not reach."""


def score(accuracy: Array, sizes: NDArray[np.int64]) -> Score:
    return Score(float(np.average(accuracy, weights=sizes)), float(np.percentile(accuracy, 10)))


def bounds(data: Mixtures, seed: int) -> Mapping[str, Score]:
    """What (3) and (4) score on the test examples."""
    concepts, federation = data.concepts(seed), data.load(seed)
    votes, single = [], []
    for client, (_, test) in federation.clients.items():
        z = test.x @ concepts.theta.T
        right = test.y["y"] > 0
        votes.append(np.mean((ndtr(z / NOISE) @ concepts.pi[client] > 0.5) == right))  # (3)
        single.append(np.mean((z[:, concepts.pi[client].argmax()] > 0) == right))  # (4)
    return {
        "(3), knows Θ and π": score(np.array(votes), concepts.sizes),
        "(4)": score(np.array(single), concepts.sizes),
    }


def trained(data: Mixtures, algorithm: Any, rounds: int, seed: int) -> Score:
    experiment = Experiment(
        name="mixtures",
        data=data,
        model=Logistic(),
        algorithm=algorithm,
        rounds=rounds,
        batch_size=BATCH,
        evaluate_every=rounds,
        seed=seed,
        runtime="local",
        engine="vmap",
    )
    rows = run(experiment).rows
    accuracy = {row["client"]: row["value"] for row in rows if row["round"] == rounds and row["client"] is not None}
    return score(np.array([accuracy[client] for client in sorted(accuracy)]), data.concepts(seed).sizes)


METHODS: Mapping[str, Any] = {
    "Local": Local(lr=0.3, epochs=1),
    "FedAvg": FedAvg(lr=3.0, epochs=1),
    "FedProx, μ = 1": FedProx(lr=0.3, epochs=1, mu=1.0),
    "Ditto, λ = 0.1": Ditto(lr=0.3, epochs=1, personal_epochs=1, lam=0.1),
    "pFedMe, λ = 1": PFedMe(lr=1.0, shared_lr=1.0, epochs=1, steps=5, lam=1.0),
    "IFCA, 3 clusters": IFCA(lr=3.0, epochs=1, clusters=3, spread=1.0),
    "FedEM, M = 3": FedEM(lr=10.0, epochs=1, components=3, spread=1.0),
}

GRID = (0.1, 0.3, 1.0, 3.0, 10.0)


def main(
    seeds: Annotated[int, typer.Option(help="How many federations, from seed 0.")] = 5,
    clients: Annotated[int, typer.Option(help="The paper has 300.")] = 100,
    rounds: Annotated[int, typer.Option(help="The paper has 200.")] = 40,
    tune: Annotated[bool, typer.Option(help="Print every method at every learning rate, on another seed.")] = False,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[bool, typer.Option(help="Few clients and rounds, to see that it runs.")] = False,
) -> None:
    began = time.process_time()
    data = Mixtures(clients=20, tests=200) if quick else Mixtures(clients=clients)
    rounds = 3 if quick else rounds
    if tune:
        for name, algorithm in METHODS.items():
            for lr in GRID:
                found = trained(data, replace(algorithm, lr=lr), rounds, TUNED_ON)
                print(
                    f"{name}  lr {lr}: {found.weighted:.4f}  {time.process_time() - began:.0f} s of processor",
                    flush=True,
                )
        raise typer.Exit
    scores: dict[str, list[Score]] = {}
    for name, algorithm in METHODS.items():
        scores[name] = [Score(*once(kept, trained, data, algorithm, rounds, seed)) for seed in range(seeds)]
    limits = [bounds(data, seed) for seed in range(seeds)]
    scores |= {name: [limit[name] for limit in limits] for name in limits[0]}
    for field, metric in (("weighted", "accuracy, mean"), ("decile", "accuracy, bottom decile")):
        rows = [Row(name, [getattr(one, field) for one in of]) for name, of in scores.items()]
        print(table(metric, rows), end="\n\n")
    if seeds > 1:
        best = [one.weighted for one in scores["FedEM, M = 3"]]
        for name in METHODS:
            if not name.startswith("FedEM"):
                gap = paired(best, [one.weighted for one in scores[name]])
                print(f"FedEM − {name}: {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]")
    print(f"{time.process_time() - began:.0f} s of processor")


if __name__ == "__main__":
    typer.run(main)
