"""Arithmetic on parameters, and trees of arrays taken apart and put together."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.buffers import is_buffer
from fedmtl.core.types import Params


def select(params: Params, prefix: str) -> dict[str, Tensor]:
    """The parameters whose name starts with ``prefix``: "trunk." is what is shared, "head." what is private."""
    return {name: value for name, value in params.items() if name.startswith(prefix)}


def zeros_like(params: Params) -> dict[str, Tensor]:
    """Zeros in place of each parameter."""
    return {name: torch.zeros_like(value) for name, value in params.items()}


def sq_distance(a: Params, b: Params) -> Tensor:
    """‖a − b‖² over all parameters but buffers, a scalar, 0 where there are none. Both must have the same names.

    Raises:
        ValueError: the names differ.
    """
    if a.keys() != b.keys():
        raise ValueError(f"sq_distance needs equal names; only one side has {sorted(a.keys() ^ b.keys())}.")
    terms = [((a[name] - b[name]) ** 2).sum() for name in a if not is_buffer(name)]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def weighted_mean(pairs: Iterable[tuple[Params, float]]) -> dict[str, Tensor]:
    """Σ n_i w_i / Σ n_i for each name, over those that have the name.

    Sums are kept in float64: the mean of one client is that client bit for bit (n·w is exact there), and
    the order of clients changes nothing that a float32 can show, save a rare last bit. Clients are
    streamed, so that one client's parameters are in memory at a time.

    Raises:
        ValueError: no client, or a weight that is not a positive finite number.
    """
    total: dict[str, float] = {}
    sums: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    count = 0
    for params, weight in pairs:
        count += 1
        n = float(weight)
        if not 0 < n < float("inf"):
            raise ValueError(f"A client's weight is its number of examples, positive and finite, got {n}.")
        for name, value in params.items():
            scaled = value.double() * n
            if name in sums:
                sums[name] += scaled
                total[name] += n
            else:
                sums[name], total[name], dtypes[name] = scaled, n, value.dtype
    if count == 0:
        raise ValueError("weighted_mean needs at least one client, got none; a round without an update has no mean.")
    return {name: (value / total[name]).to(dtypes[name]) for name, value in sums.items()}


def tree_leaves(tree: Any) -> list[Any]:
    """The leaves of nested dicts (in order of their keys), NamedTuples, tuples and lists. None has no leaves."""
    if tree is None:
        return []
    if isinstance(tree, Mapping):
        return [leaf for key in sorted(tree) for leaf in tree_leaves(tree[key])]
    if isinstance(tree, (tuple, list)):
        return [leaf for item in tree for leaf in tree_leaves(item)]
    return [tree]


def tree_unflatten(tree: Any, new_leaves: Iterable[Any]) -> Any:
    """A tree of the same structure with other leaves, given in the order of ``tree_leaves(tree)``.

    Raises:
        ValueError: too few or too many leaves.
    """
    items = iter(new_leaves)
    try:
        result = _unflatten(tree, items)
    except StopIteration:
        raise ValueError(f"The tree has {len(tree_leaves(tree))} leaves, got fewer.") from None
    if next(items, items) is not items:
        raise ValueError(f"The tree has {len(tree_leaves(tree))} leaves, got more.")
    return result


def _unflatten(tree: Any, items: Any) -> Any:
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        by_key = {key: _unflatten(tree[key], items) for key in sorted(tree)}
        return {key: by_key[key] for key in tree}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return cast(Any, type(tree))(*[_unflatten(item, items) for item in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)([_unflatten(item, items) for item in tree])
    return next(items)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with ``function`` applied to every leaf."""
    return tree_unflatten(tree, [function(leaf) for leaf in tree_leaves(tree)])


def tree_stack(trees: Sequence[Any]) -> Any:
    """K trees of one structure as one tree whose leaves are arrays [K, …]; tensors stay tensors."""
    columns = zip(*(tree_leaves(tree) for tree in trees), strict=True)
    return tree_unflatten(trees[0], [_stack(column) for column in columns])


def _stack(column: Sequence[Any]) -> Any:
    if any(isinstance(leaf, Tensor) for leaf in column):
        return torch.stack([torch.as_tensor(leaf) for leaf in column])
    return np.stack([np.asarray(leaf) for leaf in column])


def tree_index(tree: Any, k: int) -> Any:
    """The tree of client k out of a stacked one; its leaves share the stack's memory."""
    return tree_map(lambda leaf: leaf[k], tree)


def tree_unstack(tree: Any) -> list[Any]:
    """The K trees out of a stacked one that has leaves, as ``tree_index`` gives them."""
    return [tree_index(tree, k) for k in range(len(tree_leaves(tree)[0]))]


def tree_structure(tree: Any) -> Any:
    """A hashable picture of a tree: its nesting, keys, and the shape and dtype of its leaves."""
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return ("dict", tuple((key, tree_structure(tree[key])) for key in sorted(tree)))
    if isinstance(tree, (tuple, list)):
        return (type(tree).__name__, tuple(tree_structure(item) for item in tree))
    return (tuple(np.shape(tree)), str(getattr(tree, "dtype", type(tree).__name__)))


def finite_rows(tree: Any, count: int) -> NDArray[np.bool_]:
    """[K] whether no floating-point number of row k of a stacked tree is NaN or infinite."""
    finite = np.ones(count, bool)
    for leaf in tree_leaves(tree):
        # NaN and infinity stay in a sum, and to add numbers up is a third of the work of looking at each.
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and math.isfinite(float(leaf.sum())):
            continue
        array = leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            finite &= np.isfinite(array.reshape(count, -1)).all(axis=1)
    return finite


def all_finite(tree: Any) -> bool:
    """True where no floating-point leaf holds NaN or infinity."""
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor):
            if leaf.is_floating_point() and not bool(torch.isfinite(leaf).all()):
                return False
        elif np.issubdtype(np.asarray(leaf).dtype, np.floating) and not np.isfinite(leaf).all():
            return False
    return True


def sha256(tree: Any) -> str:
    """A hash of structure and bits, equal where two runs ended in the same place."""
    digest = hashlib.sha256(repr(tree_structure(tree)).encode())
    for leaf in tree_leaves(tree):
        array = leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
