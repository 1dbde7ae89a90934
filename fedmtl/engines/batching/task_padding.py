"""Clients of unlike tasks in one stack: each is lent the heads that it lacks, for the time of a call.

A lent head is zero and has no labels, so its loss and its gradient are zero and it adds nothing to a norm: it
changes nothing that is the client's own, and it is taken off the result. Twenty clients with a dozen sets of
tasks then run as one group instead of twelve.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.trees import tree_leaves, tree_map, tree_structure, tree_unflatten
from fedmtl.core.types import Batch, Payload, TaskSet, Trained
from fedmtl.engines.base import Cohort, Wide
from fedmtl.engines.device import to_tensor


def merge(cohorts: Sequence[Cohort], wide: Wide) -> list[tuple[list[int], Cohort]]:
    """Cohorts of all tasks, and which of the given ones each consists of: one, where widened clients are alike.

    Clients whose trees differ even so, in structure or shapes, stand in cohorts of their own.
    """
    lent = [widen(cohort, wide) for cohort in cohorts]
    alike: dict[Any, list[int]] = {}
    for number, cohort in enumerate(lent):
        alike.setdefault((_kind(cohort.private, 1), _kind(cohort.downs[0], 0)), []).append(number)
    return [(numbers, _joined([lent[number] for number in numbers])) for numbers in alike.values()]


def _kind(tree: Any, skip: int) -> Any:
    """Nesting, names, shapes without the first ``skip`` dimensions, and dtypes."""
    shapes = tuple((tuple(leaf.shape[skip:]), str(leaf.dtype).removeprefix("torch.")) for leaf in tree_leaves(tree))
    return tree_structure(tree_map(lambda _: 0, tree)), shapes


def widen(cohort: Cohort, wide: Wide) -> Cohort:
    """The same clients with a head and labels (all NaN) for every task."""
    return Cohort(
        cohort.clients,
        wide.function,
        [_lend(down, wide.heads) for down in cohort.downs],
        cohort.which,
        _lend(cohort.private, {name: _rows(head, len(cohort.clients)) for name, head in wide.heads.items()}),
        cohort.steps,
        lambda rows: [_label(batch, cohort.owned, wide) for batch in cohort.batches(rows)],
        tuple(wide.label_shapes),
    )


def narrow(tree: Any, owned: TaskSet, wide: Wide) -> Any:
    """A result without what belongs to heads and tasks that the client does not own."""
    lent = [task for task in wide.label_shapes if task not in owned]
    if isinstance(tree, Trained):  # a metric may have the name of a task
        return Trained(narrow(tree.private, owned, wide), narrow(tree.upload, owned, wide), tree.metrics)
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


def _rows(head: Tensor, k: int) -> Tensor:
    return head.expand(k, *head.shape)


def _lend(tree: Any, heads: Mapping[str, Tensor]) -> Any:
    """Heads put in wherever there are heads; the very tree where there are none, so that what is shared stays so."""
    if isinstance(tree, Mapping):
        lent = {key: _lend(value, heads) for key, value in tree.items()}
        if any(isinstance(key, str) and key.startswith("head.") for key in tree):
            return {**heads, **lent}
        return lent if any(lent[key] is not tree[key] for key in tree) else tree
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return cast(Any, type(tree))(*[_lend(item, heads) for item in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)([_lend(item, heads) for item in tree])
    return tree


def _label(batch: Batch, owned: TaskSet, wide: Wide) -> dict[str, Tensor]:
    shape = tuple(batch["mask"].shape)
    labels = {
        f"y.{task}": torch.full((), torch.nan).expand(*shape, *of_one)
        for task, of_one in wide.label_shapes.items()
        if task not in owned
    }
    owns = torch.tensor([float(task in owned) for task in wide.label_shapes])
    return {**batch, **labels, "owns": owns.expand(*shape, -1)}


def _joined(cohorts: Sequence[Cohort]) -> Cohort:
    """Widened cohorts of one structure as one. Equal broadcasts, told apart only by whom they went to, become one."""
    if len(cohorts) == 1:
        return cohorts[0]
    downs: list[Payload] = []
    which = []
    for cohort in cohorts:
        numbers = np.array([_find(down, downs) for down in cohort.downs], dtype=np.int64)
        which.append(numbers[cohort.which])
    ends = np.cumsum([len(cohort.clients) for cohort in cohorts])
    columns = zip(*(tree_leaves(cohort.private) for cohort in cohorts), strict=True)
    return Cohort(
        [client for cohort in cohorts for client in cohort.clients],
        cohorts[0].function,
        downs,
        np.concatenate(which),
        tree_unflatten(cohorts[0].private, [torch.cat([to_tensor(leaf) for leaf in column]) for column in columns]),
        np.concatenate([cohort.steps for cohort in cohorts]),
        lambda rows: _gather(cohorts, ends, rows),
        cohorts[0].owned,
    )


def _find(down: Payload, downs: list[Payload]) -> int:
    """The number of an equal broadcast in the list, to which it is added where there is none."""
    for number, known in enumerate(downs):
        if known is down:
            return number
        pairs = zip(tree_leaves(known), tree_leaves(down), strict=True)
        if all(torch.equal(to_tensor(one), to_tensor(other)) for one, other in pairs):
            return number
    downs.append(down)
    return len(downs) - 1


def _gather(cohorts: Sequence[Cohort], ends: NDArray[np.int64], rows: NDArray[np.int64]) -> list[Batch]:
    """The batches of rows of several cohorts, padded to the longest with zeros under mask 0."""
    owner = np.searchsorted(ends, rows, side="right")
    parts: list[tuple[Tensor, Sequence[Batch]]] = []
    for number in np.unique(owner):
        places = np.flatnonzero(owner == number)
        start = ends[number] - len(cohorts[number].clients)
        parts.append((torch.from_numpy(places), cohorts[number].batches(rows[places] - start)))
    steps = max(len(batches) for _, batches in parts)
    size = max(batches[0]["mask"].shape[1] for _, batches in parts)
    gathered: list[Batch] = []
    for step in range(steps):
        batch: dict[str, Tensor] = {}
        for key, example in parts[0][1][0].items():
            out = torch.zeros(len(rows), size, *example.shape[2:], dtype=example.dtype)
            for places, batches in parts:
                if step < len(batches):
                    part = batches[step][key]
                    out[:, : part.shape[1]].index_copy_(0, places, part)
            batch[key] = out
        gathered.append(batch)
    return gathered
