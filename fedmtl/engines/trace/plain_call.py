"""Plain calls of a function of one client on a stack of clients, by ``torch.vmap``."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.context import NO_CONTEXT, Context
from fedmtl.core.trees import tree_leaves, tree_map, tree_unflatten
from fedmtl.engines.base import ClientFn
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.kernels import batched_layers
from fedmtl.engines.trace.signature import before_batches

LARGE_ALONE = 8
"""Batches of a client alone whose call is long: vmap would slow it down without a benefit."""


def call_plain(function: ClientFn, inputs: Inputs, tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Any]:
    """Return the leaves of the results, [k, …], and a tree of their structure with 0 for every leaf.

    A long call of a client alone runs without vmap, and so does a large client alone.
    """
    of_down, of_private, keys = (
        len(tree_leaves(inputs.down)),
        len(tree_leaves(inputs.private)),
        sorted(inputs.batches[0]),
    )
    tree: Any = None

    def flat(down: list[Tensor], own: list[Tensor], rest: list[Tensor]) -> tuple[Tensor, ...]:
        nonlocal tree
        private, fields = own[:of_private], own[of_private:]
        ctx = Context(fields[0], fields[1]) if fields else NO_CONTEXT
        epoch = [dict(zip(keys, rest[at : at + len(keys)], strict=True)) for at in range(0, len(rest), len(keys))]
        result = function(tree_unflatten(inputs.down, down), tree_unflatten(inputs.private, private), epoch, ctx)
        tree = tree_map(lambda _: 0, result)
        return tuple(torch.as_tensor(leaf) for leaf in tree_leaves(result))

    down = list(tensors[:of_down])
    own = list(tensors[of_down : before_batches(inputs)])
    rest = list(tensors[before_batches(inputs) :])
    if is_large_alone(inputs, tensors):
        shared = down if inputs.shared else [leaf[0] for leaf in down]
        results = flat(shared, [leaf[0] for leaf in own], [leaf[0] for leaf in rest])
        return [leaf[None] for leaf in results], tree
    # An empty tree has nothing to map over, and vmap refuses a dimension for it.
    in_dims = (None if inputs.shared or not down else 0, 0 if own else None, 0)
    with batched_layers(inputs.large):
        return torch.vmap(flat, in_dims=in_dims, randomness="error")(down, own, rest), tree


def is_large_alone(inputs: Inputs, tensors: Sequence[Tensor]) -> bool:
    """Return True for a large client alone, and for a long call of any client alone."""
    return len(tensors[-1]) == 1 and (inputs.large or len(inputs.batches) >= LARGE_ALONE)


def is_stack(inputs: Inputs, tensors: Sequence[Tensor]) -> bool:
    """Return True if each operation of the call takes all of its clients, of which there are several.

    With one, the dimension of the clients cannot be distinguished from others of size 1.
    """
    return len(tensors[-1]) > 1 and not inputs.large
