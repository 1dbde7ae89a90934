"""Pad clients with different tasks to all tasks, so that they run in one stack.

A padded head is zero and has no labels, so its loss and its gradient are zero and it adds nothing to a norm. It
leaves the client's own numbers unchanged, and it is removed from the result. Twenty clients with a dozen sets of
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
from fedmtl.engines.base import Cohort, TaskPadding
from fedmtl.engines.device import to_tensor


def group(cohorts: Sequence[Cohort], padding: TaskPadding) -> list[tuple[list[int], Cohort]]:
    """Return padded cohorts, each with the numbers of the given cohorts that it consists of.

    Cohorts whose padded trees have equal structures and shapes are joined; usually that is all of them.
    """
    padded = [pad_tasks(cohort, padding) for cohort in cohorts]
    alike: dict[Any, list[int]] = {}
    for number, cohort in enumerate(padded):
        alike.setdefault((_kind(cohort.private, 1), _kind(cohort.downs[0], 0)), []).append(number)
    return [(numbers, _concat([padded[number] for number in numbers])) for numbers in alike.values()]


def _kind(tree: Any, skip: int) -> Any:
    """Return nesting, names, shapes without the first ``skip`` dimensions, and dtypes."""
    shapes = tuple((tuple(leaf.shape[skip:]), str(leaf.dtype).removeprefix("torch.")) for leaf in tree_leaves(tree))
    return tree_structure(tree_map(lambda _: 0, tree)), shapes


def pad_tasks(cohort: Cohort, padding: TaskPadding) -> Cohort:
    """Return the cohort with a head and labels (all NaN) for every task."""
    heads = {name: _rows(head, len(cohort.clients)) for name, head in padding.heads.items()}
    return Cohort(
        cohort.clients,
        padding.function,
        [add_zero_heads(down, padding.heads) for down in cohort.downs],
        cohort.broadcast_index,
        add_zero_heads(cohort.private, heads),
        cohort.steps,
        lambda rows: [_pad_labels(batch, cohort.owned, padding) for batch in cohort.batches(rows)],
        tuple(padding.label_shapes),
        context=cohort.context,
        bytes_read=cohort.bytes_read,
    )


def unpad(tree: Any, owned: TaskSet, padding: TaskPadding) -> Any:
    """Return a result without the heads and tasks that the client does not own."""
    padded = [task for task in padding.label_shapes if task not in owned]
    if isinstance(tree, Trained):  # a metric may have the name of a task
        return Trained(unpad(tree.private, owned, padding), unpad(tree.upload, owned, padding), tree.metrics)
    return _remove(tree, frozenset(padded), tuple(f"head.{task}." for task in padded))


def _remove(tree: Any, tasks: frozenset[str], heads: tuple[str, ...]) -> Any:
    if isinstance(tree, Mapping):
        return {
            key: _remove(value, tasks, heads)
            for key, value in tree.items()
            if key not in tasks and not (isinstance(key, str) and key.startswith(heads))
        }
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return cast(Any, type(tree))(*[_remove(item, tasks, heads) for item in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)([_remove(item, tasks, heads) for item in tree])
    return tree


def _rows(head: Tensor, k: int) -> Tensor:
    return head.expand(k, *head.shape)


def add_zero_heads(tree: Any, heads: Mapping[str, Tensor]) -> Any:
    """Return the tree with the missing heads added next to its own; the same object where it has no heads.

    A broadcast without heads so stays one object, which its clients share.
    """
    if isinstance(tree, Mapping):
        padded = {key: add_zero_heads(value, heads) for key, value in tree.items()}
        if any(isinstance(key, str) and key.startswith("head.") for key in tree):
            return {**_alike(heads, tree), **padded}
        return padded if any(padded[key] is not tree[key] for key in tree) else tree
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return cast(Any, type(tree))(*[add_zero_heads(item, heads) for item in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)([add_zero_heads(item, heads) for item in tree])
    return tree


def _alike(heads: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the padded heads without parameters that lie elsewhere for the client's own heads, such as norm layers."""
    tasks = {key.split(".")[1] for key in own if key.startswith("head.")}

    def belongs(name: str) -> bool:
        rest = name.split(".", 2)[2]
        places = [f"head.{task}.{rest}" for task in tasks]
        return any(place in own for place in places) or not any(place in heads for place in places)

    return {name: value for name, value in heads.items() if belongs(name)}


def _pad_labels(batch: Batch, owned: TaskSet, padding: TaskPadding) -> dict[str, Tensor]:
    shape = tuple(batch["mask"].shape)
    labels = {
        f"y.{task}": torch.full((), torch.nan).expand(*shape, *of_one)
        for task, of_one in padding.label_shapes.items()
        if task not in owned
    }
    owns = torch.tensor([float(task in owned) for task in padding.label_shapes])
    return {**batch, **labels, "owns": owns.expand(*shape, -1)}


def _concat(cohorts: Sequence[Cohort]) -> Cohort:
    """Return padded cohorts of one structure as one cohort, in which equal broadcasts are one object."""
    if len(cohorts) == 1:
        return cohorts[0]
    downs: list[Payload] = []
    broadcast_index: list[NDArray[np.int64]] = []
    for cohort in cohorts:
        numbers = np.array([_find(down, downs) for down in cohort.downs], dtype=np.int64)
        broadcast_index.append(numbers[cohort.broadcast_index])
    ends = np.cumsum([len(cohort.clients) for cohort in cohorts])
    return Cohort(
        [client for cohort in cohorts for client in cohort.clients],
        cohorts[0].function,
        downs,
        np.concatenate(broadcast_index),
        _concat_trees([cohort.private for cohort in cohorts]),
        np.concatenate([cohort.steps for cohort in cohorts]),
        lambda rows: _gather(cohorts, ends, rows),
        cohorts[0].owned,
        context=_concat_trees([cohort.context for cohort in cohorts]),
        bytes_read=_bytes_read(cohorts),
    )


def _bytes_read(cohorts: Sequence[Cohort]) -> NDArray[np.int64] | None:
    if all(cohort.bytes_read is None for cohort in cohorts):
        return None
    return np.concatenate(
        [np.zeros(len(one.clients), np.int64) if one.bytes_read is None else one.bytes_read for one in cohorts]
    )


def _concat_trees(trees: Sequence[Any]) -> Any:
    """Return trees of arrays [K, …] as one, end to end."""
    columns = zip(*(tree_leaves(tree) for tree in trees), strict=True)
    return tree_unflatten(trees[0], [torch.cat([to_tensor(leaf) for leaf in column]) for column in columns])


def _find(down: Payload, downs: list[Payload]) -> int:
    """Return the index of an equal broadcast in the list; a broadcast that has none is appended."""
    for number, known in enumerate(downs):
        if known is down:
            return number
        pairs = zip(tree_leaves(known), tree_leaves(down), strict=True)
        if all(torch.equal(to_tensor(one), to_tensor(other)) for one, other in pairs):
            return number
    downs.append(down)
    return len(downs) - 1


def _gather(cohorts: Sequence[Cohort], ends: NDArray[np.int64], rows: NDArray[np.int64]) -> list[Batch]:
    """Return the batches of rows of several cohorts, padded with zeros and mask 0 to those of the longest client."""
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
