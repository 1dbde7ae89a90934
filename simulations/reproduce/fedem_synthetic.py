"""FedEM on its own synthetic set: clients whose data are mixtures of three linear concepts.

    python simulations/reproduce/fedem_synthetic.py --seeds 5

Marfoq, Neglia, Bellet, Kameni, Vidal. Federated Multi-Task Learning under a Mixture of Distributions. NeurIPS 2021.
arXiv:2108.10252. As the authors' generator has it, with T clients and M = 3 concepts in d = 150 dimensions:

    θ_m ~ U[−1, 1]^d         π_k ~ Dirichlet(0.4, …, 0.4)         n_k = min(50 + ⌊exp(4 + 2 ε)⌋, 1000), ε ~ N(0, 1)  (1)
    x ~ U[−1, 1]^d           z ~ π_k                              y = [x·θ_z + 0.1 ε > 0]                            (2)

No predictor is right more often than the one that knows Θ and π_k and lets the concepts vote:

    ŷ = [Σ_m π_km Φ(x·θ_m / 0.1) > ½]        Φ the normal distribution function                                      (3)
    ŷ = [x·θ_m > 0], m = argmax π_k          the best that one linear model of each client could do                  (4)

(4) is what M shared models without a mixture (IFCA) aim at.

Every method is tuned on a grid of 16 settings (``tune.py``): 16 rates, or four rates by four values of its own
strength. A setting and a round are chosen on a federation of another seed, whose concepts, clients and examples are
others: each client's training part is divided into four fifths to fit and a fifth to validate, and its test part is not
read. The choice is then trained on the federations of seeds 0, 1, …, and tested once.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from loaders import divide, once
from numpy.typing import NDArray
from scipy.special import ndtr
from summary import Row, paired, table
from torch import nn
from tune import Axis, Choice, Method, by_client, check_equal, choices_table, choose, run_to_the_end, steps, thinned

from fedmtl import Binary, ClientData, Experiment, FedAvg, Federation, Local, Split
from fedmtl.algorithms import IFCA, Ditto, FedEM, FedProx, PFedMe

Array = NDArray[np.float64]

NOISE = 0.1
BATCH = 128
TUNED_ON = 1000
"""The seed of the first federation that settings are chosen on; results are of seeds from 0."""
VALIDATED = 0.2
"""The part of a client's training examples that validates."""
MEASURED = 10
"""Measurements of a run."""


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
    validation: bool = False
    """Clients hold their training examples alone, divided into those to fit and those to validate."""

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
            x, y = self.examples(concepts, seed, client)
            rows = np.arange(len(x))
            parts = (rows < size, rows >= size)
            if self.validation:
                chosen = np.zeros(len(x), bool)
                chosen[:size] = divide(rows[:size], VALIDATED, np.random.default_rng([seed, client, 1]))
                parts = (~chosen & (rows < size), chosen)
            clients[client] = ClientData(*(Split(x[part], {"y": y[part]}) for part in parts))
        return Federation({"y": Binary()}, (self.dim,), clients)

    def examples(self, concepts: Concepts, seed: int, client: int) -> tuple[Array, NDArray[np.bool_]]:
        """(2): n_k examples to train on, and then those to test on."""
        draw = np.random.default_rng([seed, client])
        x = draw.uniform(-1, 1, (concepts.sizes[client] + self.tests, self.dim))
        z = draw.choice(self.components, len(x), p=concepts.pi[client])
        return x, np.einsum("nd,nd->n", x, concepts.theta[z]) + NOISE * draw.standard_normal(len(x)) > 0


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
    """Return the scores of (3) and (4) on the test examples."""
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


def trained(data: Mixtures, algorithm: Any, rounds: int, seed: int) -> dict[str, Score]:
    """The score after each measured round; the keys are the rounds, as text. Empty where training diverged."""
    experiment = Experiment(
        name="mixtures",
        data=data,
        model=Logistic(),
        algorithm=algorithm,
        rounds=rounds,
        batch_size=BATCH,
        evaluate_every=max(rounds // MEASURED, 1),
        seed=seed,
        runtime="InProcess",
        engine="vmap",
    )
    result = run_to_the_end(experiment)
    if result is None:
        return {}
    sizes, found = data.concepts(seed).sizes, by_client(result)
    return {round: score(np.array([of[client] for client in sorted(of)]), sizes) for round, of in found.items()}


RATES = Axis("lr", steps(0.05, 1.55, 16))
FEW_RATES = Axis("lr", steps(0.1, 4, 4))
FROM_ZERO = (0.0, 0.01, 0.1, 1.0)
"""μ = 0 is FedAvg and Ditto's λ = 0 is Local: an end by nature."""

METHODS: tuple[Method, ...] = (
    Method("Local", lambda lr: Local(lr=lr, epochs=1), (RATES,)),
    Method("FedAvg", lambda lr: FedAvg(lr=lr, epochs=1), (RATES,)),
    Method(
        "FedProx",
        lambda lr, mu: FedProx(lr=lr, epochs=1, mu=mu),
        (FEW_RATES, Axis("mu", FROM_ZERO, bounds=(0.0,))),
    ),
    Method(
        "Ditto",
        lambda lr, lam: Ditto(lr=lr, epochs=1, personal_epochs=1, lam=lam),
        (FEW_RATES, Axis("lam", FROM_ZERO, bounds=(0.0,))),
    ),
    Method(
        "pFedMe",
        lambda lr, lam: PFedMe(lr=lr, shared_lr=1 / lam, epochs=1, steps=5, lam=lam),
        (FEW_RATES, Axis("lam", steps(0.1, 10**0.5, 4))),
    ),
    Method("IFCA, 3 clusters", lambda lr: IFCA(lr=lr, epochs=1, clusters=3, spread=1.0), (RATES,)),
    Method("FedEM, M = 3", lambda lr: FedEM(lr=lr, epochs=1, components=3, spread=1.0), (RATES,)),
)


def tuned(method: Method, data: Mixtures, rounds: int, pilots: int, kept: Path | None) -> Choice:
    """The setting with the best weighted accuracy on validation parts."""
    inner = replace(data, validation=True)

    def measure(algorithm: Any) -> list[dict[int, float]]:
        curves = [once(kept, trained, inner, algorithm, rounds, TUNED_ON + pilot) for pilot in range(pilots)]
        return [{int(round): Score(*of).weighted for round, of in curve.items()} for curve in curves]

    return choose(method, measure)


def main(
    seeds: Annotated[int, typer.Option(help="How many federations, from seed 0.")] = 5,
    clients: Annotated[int, typer.Option(help="The paper has 300.")] = 100,
    rounds: Annotated[int, typer.Option(help="The paper has 200.")] = 40,
    pilots: Annotated[int, typer.Option(help="Federations that settings are chosen on, from seed 1000.")] = 1,
    kept: Annotated[Path | None, typer.Option(help="File of what is measured; what it holds is not run again.")] = None,
    quick: Annotated[bool, typer.Option(help="Few clients, rounds and settings, to see it run.")] = False,
) -> None:
    began = time.process_time()
    data = Mixtures(clients=20, tests=200) if quick else Mixtures(clients=clients)
    rounds = 2 if quick else rounds
    check_equal(METHODS)
    methods = thinned(METHODS) if quick else METHODS
    choices = {method.name: tuned(method, data, rounds, pilots, kept) for method in methods}
    print(choices_table(choices), end="\n\n")
    scores: dict[str, list[Score]] = {}
    for method in METHODS:
        choice = choices[method.name]
        algorithm = method.make(**choice.setting)
        curves = [once(kept, trained, data, algorithm, rounds, seed) for seed in range(seeds)]
        scores[method.name] = [Score(*curve[str(choice.round)]) for curve in curves]
    limits = [bounds(data, seed) for seed in range(seeds)]
    scores |= {name: [limit[name] for limit in limits] for name in limits[0]}
    for field, metric in (("weighted", "accuracy, mean"), ("decile", "accuracy, bottom decile")):
        rows = [Row(name, [getattr(one, field) for one in of]) for name, of in scores.items()]
        print(table(metric, rows), end="\n\n")
    if seeds > 1:
        for field in Score._fields:
            best = [getattr(one, field) for one in scores["FedEM, M = 3"]]
            for method in METHODS[:-1]:
                gap = paired(best, [getattr(one, field) for one in scores[method.name]])
                print(f"- {field}: FedEM − {method.name}: {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]")
    print(f"{time.process_time() - began:.0f} s of processor")


if __name__ == "__main__":
    typer.run(main)
