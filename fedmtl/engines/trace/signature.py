"""Inputs of a batched function as a list of tensors, and signatures, by which calls share a graph."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.trees import tree_leaves, tree_structure, tree_unflatten
from fedmtl.engines.base import LazyRows
from fedmtl.engines.batching.gather import Inputs


def flatten(inputs: Inputs) -> list[Tensor | LazyRows]:
    """Return the leaves of broadcast, private state, context and batches, in this order."""
    keys = sorted(inputs.batches[0])
    return [
        *tree_leaves(inputs.down),
        *tree_leaves(inputs.private),
        *tree_leaves(inputs.context),
        *[batch[key] for batch in inputs.batches for key in keys],
    ]


def before_batches(inputs: Inputs) -> int:
    """Return the number of leaves before the first batch."""
    return len(tree_leaves((inputs.down, inputs.private, inputs.context)))


def contiguous(inputs: Inputs, given: Sequence[Tensor | LazyRows]) -> list[Tensor]:
    """Return the flat inputs with lazy rows copied and everything but a shared broadcast contiguous."""
    of_down = len(tree_leaves(inputs.down)) if inputs.shared else 0
    whole = [item.copy() if isinstance(item, LazyRows) else item for item in given]
    return whole[:of_down] + [tensor.contiguous() for tensor in whole[of_down:]]


def signature_of(inputs: Inputs, given: Sequence[Tensor | LazyRows], skip: int) -> Any:
    """Return a key that is equal for calls with a common graph.

    Args:
        inputs: of a call.
        given: the same, flat.
        skip: number of first dimensions of stacks that are left out of the key.
    """
    of_down, of_private = len(tree_leaves(inputs.down)), len(tree_leaves(inputs.private))
    skips = [0 if inputs.shared else skip] * of_down + [skip] * (len(given) - of_down)
    pictures = [(t.shape[n:], t.stride()[n:], t.dtype, t.device) for t, n in zip(given, skips, strict=True)]
    nesting = [
        tree_structure(tree_unflatten(tree, [0] * n))
        for tree, n in ((inputs.down, of_down), (inputs.private, of_private))
    ]
    return inputs.shared, inputs.context is None, *nesting, tuple(sorted(inputs.batches[0])), tuple(pictures)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Return True for bit-identical tensors; NaN equals NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if torch.equal(one, other):
        return True
    return torch.equal(*[tensor.detach().cpu().contiguous().view(torch.uint8) for tensor in (one, other)])


def keep(table: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Add an entry, and drop the oldest ones beyond ``most``."""
    while len(table) >= most:
        del table[next(iter(table))]
    table[key] = value
