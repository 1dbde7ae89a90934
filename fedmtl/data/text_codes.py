"""Class names that look like numbers: texts such as "10" and "2" in a column of labels."""

from dataclasses import replace
from typing import Any

from fedmtl.data.infer import FEW
from fedmtl.tasks.base import Task
from fedmtl.tasks.multiclass import MultiClass


def with_codes(task: Task | None, labels: Any) -> Task | None:
    """Return the task of a column of labels, with its texts as names of classes where these are few whole numbers.

    A text is a name, even one of digits: numbers have a type of numbers.

    Args:
        task: that is given; None where it is inferred.
        labels: a column of pandas.
    """
    if getattr(labels.dtype, "kind", "O") in "biuf" or not (task is None or _unnamed(task)):
        return task
    seen = sorted({*labels[~labels.isna()]}, key=str)
    if not 2 <= len(seen) <= FEW or not all(isinstance(one, str) and one.isdecimal() and len(one) < 10 for one in seen):
        return task
    if task is None:
        return MultiClass(len(seen), tuple(seen))
    return replace(task, names=tuple(seen)) if isinstance(task, MultiClass) and task.num_classes == len(seen) else task


def _unnamed(task: Task) -> bool:
    return isinstance(task, MultiClass) and not task.names
