"""Workloads: the same clients, model, steps and batches for every system."""

from dataclasses import dataclass, replace
from typing import Any

from fedmtl.algorithms.fedper import FedPer
from fedmtl.runs.experiment import Experiment


@dataclass(frozen=True)
class Workload:
    """One epoch of SGD at each client of a round; the trunk is averaged, the last layer is each client's own.

    Raises:
        ValueError: a size below 1, or a cohort larger than the population.
    """

    name: str
    model: str
    """As a preset names it."""
    input_shape: tuple[int, ...]
    clients: int
    """Population."""
    cohort: int
    """Clients a round."""
    examples: int
    """Training examples of each client."""
    rounds: int
    """Rounds that are run; all but the first are timed."""
    batch_size: int = 16
    lr: float = 0.01
    classes: int = 10
    spread: float = 1.0
    """Scale of inputs. Larger ones speed up learning, and let rounding grow faster too."""
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        for field in ("clients", "cohort", "examples", "batch_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"A workload has {field} of at least 1, got {getattr(self, field)}.")
        if self.cohort > self.clients:
            raise ValueError(f"A cohort is at most the {self.clients} clients, got cohort={self.cohort}; lower it.")
        if self.rounds < 2:
            raise ValueError(f"The first round is not timed, so rounds is at least 2, got {self.rounds}.")

    def experiment(self, data: Any, workers: int, compile: bool = False) -> Experiment:
        """The workload on Ray workers: packets, ledger and strategy as in any run."""
        return Experiment(
            name=self.name,
            data=data,
            model=self.model,
            algorithm=FedPer(lr=self.lr, epochs=1),
            rounds=self.rounds,
            cohort=self.cohort,
            batch_size=self.batch_size,
            evaluate_every=10**9,  # the first and the last round measure anyway, and are not timed
            seed=self.seed,
            engine={"name": "VMap", "compile": compile},
            runtime={"name": "Ray", "workers": workers},
        )

    @property
    def text(self) -> str:
        """One line that says what it is."""
        return (
            f"{self.name}: {self.model}, {self.cohort:,} of {self.clients:,} clients a round, "
            f"{self.examples} examples each, batches of {self.batch_size}, {self.rounds} rounds"
        )


WORKLOADS = {
    # CNN 1×28×28, convolutions 16 and 32, 1568 -> 64, and a private 64 -> 10.
    "W1": Workload("W1", "CNN()", (1, 28, 28), clients=1_000, cohort=100, examples=64, rounds=7),
    # 64 -> 32, and a private 32 -> 10. In ten rounds every client has its first turn, which is not what a long run is.
    "W2": Workload("W2", "MLP(hidden=(32,))", (64,), clients=10_000, cohort=1_000, examples=32, rounds=60, spread=2.0),
}


def sweep(workers: int) -> list[tuple[Workload, int]]:
    """W2 with one thing changed at a time, and the number of workers."""
    w2 = replace(WORKLOADS["W2"], rounds=8)
    return [
        *((replace(w2, name=f"population {clients:,}", clients=clients), workers) for clients in (1_000, 10_000)),
        (replace(w2, name="population 100,000", clients=100_000), workers),
        *((replace(w2, name=f"cohort {cohort:,}", cohort=cohort), workers) for cohort in (100, 4_000)),
        *((replace(w2, name=f"hidden {h}", model=f"MLP(hidden=({h},))"), workers) for h in (8, 128)),
        (replace(w2, name="1 worker"), 1),
    ]
