"""Clients that estimate their own means: a problem whose best λ and learning rate are known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmtl.algorithms import MRMTL
from fedmtl.client.data_shard import shard_of
from fedmtl.client.validation import with_validation
from fedmtl.data import ClientData, Federation, Split
from fedmtl.models import Linear
from fedmtl.runs.experiment import Experiment
from fedmtl.studies.tuning import Range, Tuning, tune
from fedmtl.studies.tuning.tune import SEED
from fedmtl.tasks import Regression

SPACE = {"algorithm.lr": Range(0.01, 1.0, log=True), "algorithm.lam": Range(0.01, 100.0, log=True)}
ROUNDS = 6

FRONT_SPACE = {**SPACE, "cohort": (0.25, 0.5, 1.0)}
"""A quarter of the clients a round sends a quarter of the bytes."""

FRONT_SETTINGS = Tuning(trials=12, objective=("score", "bytes"))
"""Eight trials that fill the space, and four that Optuna proposes."""


@dataclass(frozen=True)
class Means:
    """Labels of client k are N(θ_k, 4), and θ_k is N(0, 1); the input is 0, so that a head has its constant alone."""

    clients: int = 60
    examples: int = 10
    test_labels: int = 0
    """Another number: the test labels in another order."""

    def load(self, seed: int) -> Federation:
        draw = np.random.default_rng(5)
        theta = draw.normal(0, 1, self.clients)
        y = theta[:, None, None] + draw.normal(0, 2, (self.clients, 2, self.examples))
        if self.test_labels:
            test = y[:, 1].ravel()
            np.random.default_rng(self.test_labels).shuffle(test)
            y[:, 1] = test.reshape(self.clients, self.examples)
        x = np.zeros((self.examples, 1), np.float32)
        parts = [[Split(x, {"mean": y[k, part].astype(np.float32)}) for part in range(2)] for k in range(self.clients)]
        return Federation({"mean": Regression()}, (1,), {k: ClientData(*both) for k, both in enumerate(parts)})


def experiment(**changes: object) -> Experiment:
    values: dict[str, object] = {
        "data": Means(),
        "model": Linear(),
        "algorithm": MRMTL(lr=0.02, lam=0.02, epochs=1),
        "rounds": ROUNDS,
        "batch_size": 0,
        "valid_fraction": 0.2,
        "runtime": "InProcess",
        **changes,
    }
    return Experiment(**values)  # pyright: ignore[reportArgumentType]


def scores(
    train: NDArray[np.float64], valid: list[NDArray[np.float64]], lr: NDArray[np.float64], lam: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The best validation score within ROUNDS rounds, for each pair of η and λ, [A, B]: MR-MTL written out.

    b_k ← b_k − η (2 (b_k − ȳ_k) + λ (b_k − b̄)), from 0, b̄ the mean of the round before; the score is 1 − mean squared
    error over all clients' validation labels.
    """
    eta, strength = lr[:, None, None], lam[None, :, None]
    b = np.zeros((len(lr), len(lam), len(train)))
    best = np.full((len(lr), len(lam)), -np.inf)
    labels = np.concatenate(valid)
    owner = np.repeat(np.arange(len(valid)), [len(one) for one in valid])
    with np.errstate(all="ignore"):
        for step in range(ROUNDS + 1):
            if step:
                b = b - eta * (2 * (b - train) + strength * (b - b.mean(-1, keepdims=True)))
            score = 1 - ((labels - b[..., owner]) ** 2).mean(-1)
            best = np.fmax(best, score)
    return best


def surface(lr: NDArray[np.float64], lam: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores on the validation parts of the tuning's seed, by ``planted.scores``."""
    (table,) = with_validation(shard_of(Means().load(0).clients), 0.2, SEED).tables
    assert table.valid is not None
    rows = range(len(table.clients))
    train = np.array([table.train.split(k).y["mean"].astype(np.float64).mean() for k in rows])
    return scores(train, [table.valid.split(k).y["mean"].astype(np.float64) for k in rows], lr, lam)


def main(out: str, trials: str, how: str) -> None:
    """A tuning in a process that a test kills."""
    if how == "front":
        tune(experiment(), Path(out), FRONT_SPACE, FRONT_SETTINGS)
    else:
        tune(experiment(), Path(out), SPACE, Tuning(trials=int(trials), halving=how == "halving"))
