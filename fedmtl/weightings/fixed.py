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


@dataclass(frozen=True)
class Fixed:
    """``Fixed({"digit": 2.0})`` doubles the loss of the task ``digit``.

    Raises:
        ValueError: a weight that is no finite number of at least 0, or is given twice.
    """

    traits = WeightingTraits(check_tasks=True)

    weights: Any = ()
    """Task -> w, a mapping, or texts, ``("digit:2.0",)``; kept as texts, so that it is written to files and hashed."""

    def __post_init__(self) -> None:
        given: Any = self.weights
        pairs = list(given.items()) if isinstance(given, Mapping) else _pairs(given)
        for task, weight in pairs:
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not (number and 0 <= weight < float("inf")):
                raise ValueError(f"Fixed: a weight is a finite number of at least 0, got {weight!r} for {task!r}.")
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"Fixed: a task has one weight, got {given!r}; leave one out.")
        object.__setattr__(self, "weights", tuple(f"{task}:{float(weight)!r}" for task, weight in pairs))

    @property
    def _weights(self) -> dict[str, Any]:
        return dict(_pairs(self.weights))

    def check_tasks(self, tasks: TaskSet) -> None:
        unknown = sorted(set(self._weights).difference(tasks))
        if unknown:
            raise ValueError(
                f"Fixed weighs the unknown task {unknown[0]!r}; the tasks are {sorted(tasks)}."
                f"{did_you_mean(unknown[0], tasks)}"
            )

    def init_params(self, tasks: TaskSet) -> dict[str, Tensor]:
        return {}

    def init_state(self, tasks: TaskSet) -> Tensor:
        return torch.tensor([self._weights.get(task, 1.0) for task in tasks])

    def update_state(self, state: Tensor, losses: Tensor) -> Tensor:
        return state

    def combine(self, each: Each, params: Params, batch: Batch, state: Tensor) -> Tensor:
        return (state * each(params, batch)).mean()  # (1)


def _pairs(texts: Any) -> list[tuple[str, Any]]:
    """Task and weight of each text; a weight that is no number stays a text.

    Raises:
        ValueError: no list of such texts.
    """
    if not isinstance(texts, tuple | list) or not all(isinstance(text, str) and ":" in text for text in texts):
        raise ValueError(f"Fixed takes the weights of tasks by name, such as {{'digit': 2.0}}, got {texts!r}.")
    found: list[tuple[str, Any]] = []
    for text in texts:
        task, _, weight = text.partition(":")
        try:
            found.append((task, float(weight)))
        except ValueError:
            found.append((task, weight))
    return found
