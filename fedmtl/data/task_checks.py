"""Checks of a federation's tasks."""

from collections.abc import Mapping
from typing import Any

from fedmtl.core.traits import check_traits
from fedmtl.data.split import ClientData as ClientData
from fedmtl.data.split import Split as Split
from fedmtl.tasks.base import Task
from fedmtl.tasks.traits import TaskTraits


def check_name(name: Any) -> None:
    """Refuse what is no name of a task.

    Raises:
        ValueError: no text, or no identifier.
    """
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(
            f"A task's name becomes part of parameter names and must be an identifier, got {name!r}; use letters, "
            "digits and _, such as 'task_0'."
        )


def check_tasks(tasks: Mapping[str, Task]) -> Mapping[str, Task]:
    """The tasks, if they are.

    Raises:
        ValueError: a name that is none, or something else than an object with a task's methods.
    """
    if not isinstance(tasks, Mapping):
        raise ValueError(f"tasks is {{name: task}}, such as {{'sick': Binary()}}, got a {type(tasks).__name__}.")
    for name, task in tasks.items():
        check_name(name)
        missing = [part for part in _PARTS if part not in dir(task)]
        if isinstance(task, type) or missing:
            called = task.__name__ if isinstance(task, type) else task if isinstance(task, str) else "Binary"
            raise ValueError(
                f"Task {name!r} is an object such as {called.partition('(')[0]}(…), from fedmtl.tasks, got {task!r}"
                f"{'' if isinstance(task, type | str) else f', which has no {missing[0]}'}; write {name!r}: "
                f"{_MADE.get(called, 'Binary()')}."
            )
        check_traits("task", task, TaskTraits)
    return tasks


_PARTS = ("outputs", "label_shape", "metric_name", "higher_is_better", "labels", "loss", "sums", "metric", "score")


_MADE = {
    "MultiClass": "MultiClass(num_classes)",
    "MultiLabel": "MultiLabel(num_labels)",
    "Regression": "Regression(mean, std)",
    "Ordinal": "Ordinal(num_classes)",
    "MultiRegression": "MultiRegression(num_outputs)",
    "Huber": "Huber(mean, std)",
    "Quantile": "Quantile(quantiles)",
    "DenseClasses": "DenseClasses(num_classes, shape)",
    "DenseRegression": "DenseRegression(shape)",
    "SequenceLabels": "SequenceLabels(num_classes, length)",
}
