"""Predictions for new examples, decoded: names of classes, probabilities, numbers in the label's unit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean
from fedmtl.tasks.names import class_names


@dataclass(frozen=True, eq=False)
class TaskPrediction:
    """Predictions of one task for N examples."""

    task: str
    outputs: NDArray[np.float32] = field(repr=False)
    """Outputs of the head, [N, …]: logits, or numbers in standardised units."""
    values: NDArray[Any]
    """[N, *label_shape]: names of classes where they have such, else their numbers; 0 and 1; numbers in their unit."""
    probabilities: NDArray[np.float32] | None = field(repr=False)
    """Probability of each class, [N, classes, …], or that a label is 1, as ``values``; None: the task has none."""
    names: tuple[str, ...] = field(repr=False)
    """Names of classes or labels; none where they have none."""

    def columns(self) -> dict[str, NDArray[Any]]:
        """Columns of a table: ``task`` and ``task_probability``, of several labels or numbers ``task.name`` of each.

        The probability is that of the predicted class, or that a label is 1.

        Raises:
            ValueError: a map, which is no column.
        """
        values, likely = self.values, self._of_values()
        if values.ndim == 1:
            parts = [(self.task, values, likely)]
        elif values.ndim == 2:
            names = self.names if len(self.names) == values.shape[1] else tuple(map(str, range(values.shape[1])))
            parts = [
                (f"{self.task}.{name}", values[:, k], None if likely is None else likely[:, k])
                for k, name in enumerate(names)
            ]
        else:
            raise ValueError(
                f"Task {self.task!r} predicts {list(values.shape[1:])} numbers an example, which is no column of a "
                "table; use result.predict(client, x) in Python."
            )
        found: dict[str, NDArray[Any]] = {}
        for name, value, probability in parts:
            found[name] = value
            if probability is not None:
                found[f"{name}_probability"] = probability
        return found

    def _of_values(self) -> NDArray[np.float32] | None:
        """Return the probability of each value that is predicted."""
        found = self.probabilities
        return found if found is None or found.shape == self.values.shape else found.max(axis=1)


class Predictions(Mapping[str, TaskPrediction]):
    """Task -> its predictions. ``pandas.DataFrame(predictions.table())`` is a table of all."""

    def __init__(self, by_task: Mapping[str, TaskPrediction]) -> None:
        self._by_task = dict(by_task)

    def __getitem__(self, task: str) -> TaskPrediction:
        if task not in self._by_task:
            hint = did_you_mean(task, self._by_task)
            raise KeyError(f"The client has no task {shown(task)}; its tasks are {', '.join(self._by_task)}.{hint}")
        return self._by_task[task]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_task)

    def __len__(self) -> int:
        return len(self._by_task)

    def __repr__(self) -> str:
        return f"Predictions({self._by_task!r})"

    def table(self) -> dict[str, NDArray[Any]]:
        """Column -> its N entries, of all tasks, see ``TaskPrediction.columns``.

        Raises:
            ValueError: a task whose prediction is a map, or two columns of one name.
        """
        found: dict[str, NDArray[Any]] = {}
        for prediction in self.values():
            for name, column in prediction.columns().items():
                if name in found:
                    raise ValueError(f"Two columns of the predictions are named {name!r}; rename a task or its labels.")
                found[name] = column
        return found


def predicted(name: str, task: Any, output: Tensor) -> TaskPrediction:
    """Return the predictions of a task from the outputs of its head, [N, …].

    Raises:
        ValueError: outputs that are NaN.
    """
    if output.isnan().any():
        raise ValueError(
            f"task {name!r}: an output is NaN; the model has diverged, or x is far from the examples of the run: lower "
            "the learning rate, or look at x."
        )
    names, values, probabilities = class_names(task), output, None
    if task.traits.decoded:
        values, probabilities = task.decode(output)
    found = values.numpy()
    if names and probabilities is not None and probabilities.shape != values.shape:
        found = np.array(names)[found]
    return TaskPrediction(name, output.numpy(), found, None if probabilities is None else probabilities.numpy(), names)
