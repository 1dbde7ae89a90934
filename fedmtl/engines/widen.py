"""Clients of unlike tasks in one stack: each lends itself the heads that it lacks, for the time of a call.

A lent head is zero and has no labels, so its loss and its gradient are zero and it adds nothing to a norm: it
changes nothing that is the client's own, and it is taken off the result. Twenty clients with a dozen sets of
tasks then run as one group instead of twelve.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch

from fedmtl.federation.job import Job, Wide
from fedmtl.types import Batch, TaskSet


def widen(job: Job, wide: Wide) -> Job:
    """The same job with a head and labels (all NaN) for every task."""
    return Job(
        job.client,
        wide.function,
        _lend(job.down, wide),
        _lend(job.private, wide),
        [_label(batch, job.owned, wide) for batch in job.batches],
        tuple(wide.label_shapes),
    )


def narrow(tree: Any, owned: TaskSet, wide: Wide) -> Any:
    """A result without what belongs to heads and tasks that the client does not own."""
    lent = [task for task in wide.label_shapes if task not in owned]
    return _take(tree, frozenset(lent), tuple(f"head.{task}." for task in lent))


def _take(tree: Any, tasks: frozenset[str], heads: tuple[str, ...]) -> Any:
    if isinstance(tree, Mapping):
        return {
            key: _take(value, tasks, heads)
            for key, value in tree.items()
            if key not in tasks and not (isinstance(key, str) and key.startswith(heads))
        }
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return cast(Any, type(tree))(*[_take(item, tasks, heads) for item in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)([_take(item, tasks, heads) for item in tree])
    return tree


def _lend(tree: Any, wide: Wide) -> Any:
    """Heads put in wherever there are heads; the very tree where there are none, so that what is shared stays so."""
    if isinstance(tree, Mapping):
        lent = {key: _lend(value, wide) for key, value in tree.items()}
        if any(isinstance(key, str) and key.startswith("head.") for key in tree):
            return {**wide.heads, **lent}
        return lent if any(lent[key] is not tree[key] for key in tree) else tree
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return cast(Any, type(tree))(*[_lend(item, wide) for item in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)([_lend(item, wide) for item in tree])
    return tree


def _label(batch: Batch, owned: TaskSet, wide: Wide) -> Batch:
    rows = len(batch["mask"])
    labels = {
        f"y.{task}": torch.full((), torch.nan).expand(rows, *shape)
        for task, shape in wide.label_shapes.items()
        if task not in owned
    }
    owns = torch.tensor([float(task in owned) for task in wide.label_shapes])
    return {**batch, **labels, "owns": owns.expand(rows, -1)}
