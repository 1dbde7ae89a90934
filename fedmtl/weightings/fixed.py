"""Fixed weights: tasks that matter more, or whose losses are small, count more.

    Caruana. Multitask Learning. Machine Learning 28, 1997, section 3.

    L = Σ w_t L_t / T                  w_t = 1 of a task that has none                 (1)

Weights are of all clients alike and are divided by the number of a client's tasks, never by their sum: so that a client
of one task trains with its weight, too, and Fixed() is Equal().

Down / Up: nothing of its own.  Private: w of the client's tasks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.suggest import did_you_mean
from fedmtl.core.types import Batch, Params, TaskSet
from fedmtl.weightings.base import Each
from fedmtl.weightings.traits import WeightingTraits


@dataclass(frozen=True, repr=False)
class Fixed:
    """``Fixed({"digit": 2.0})`` doubles the loss of the task ``digit``.

    Raises:
        ValueError: a weight that is no finite number of at least 0.
    """

    traits = WeightingTraits(check_tasks=True)

    weights: Any = ()
    """Task -> w: a mapping; kept as pairs, so that it is hashed and pickled."""

    def __post_init__(self) -> None:
        given: Any = self.weights
        pairs = tuple(given.items()) if isinstance(given, Mapping) else given
        if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError(f"Fixed takes the weights of tasks by name, such as {{'digit': 2.0}}, got {given!r}.")
        for task, weight in pairs:
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not (number and 0 <= weight < float("inf")):
                raise ValueError(f"Fixed: a weight is a finite number of at least 0, got {weight!r} for {task!r}.")
        object.__setattr__(self, "weights", tuple((task, float(weight)) for task, weight in pairs))

    def __repr__(self) -> str:
        return f"Fixed({dict(self.weights)!r})"

    def check_tasks(self, tasks: TaskSet) -> None:
        unknown = sorted(set(dict(self.weights)).difference(tasks))
        if unknown:
            raise ValueError(
                f"Fixed weighs the unknown task {unknown[0]!r}; the tasks are {sorted(tasks)}."
                f"{did_you_mean(unknown[0], tasks)}"
            )

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def init_state(self, tasks: TaskSet) -> Tensor:
        return torch.tensor([dict(self.weights).get(task, 1.0) for task in tasks])

    def update_state(self, state: Tensor, losses: Tensor) -> Tensor:
        return state

    def combine(self, each: Each, params: Params, batch: Batch, state: Tensor) -> Tensor:
        return (state * each(params, batch)).mean()  # (1)
