"""The uploads of a round as the server has them: stacked, and one by one for who asks for them so."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.trees import tree_index, weighted_mean
from fedmtl.core.types import ClientId, Payload, Upload


class Stack(NamedTuple):
    """Uploads of K clients whose payloads have the same names and shapes."""

    clients: NDArray[np.int64]
    """Ascending, [K]."""
    payload: Payload
    """Arrays [K, …]."""
    num_examples: NDArray[np.float64]
    """n_k, positive and finite, [K]."""


class Summed(NamedTuple):
    """Uploads of several clients, of which only the sum is known."""

    clients: NDArray[np.int64]
    """Ascending."""
    totals: Mapping[str, Mapping[str, NDArray[np.float64]]]
    """Record -> name -> Σ n_k w_k."""
    num_examples: float
    """Σ n_k."""


class Uploads(Iterable[tuple[ClientId, Upload]]):
    """All uploads of a round; iterated, in client order.

    Those of an ``additive`` algorithm may have been summed where they were made; then there is nothing to iterate.
    """

    def __init__(self, stacks: Sequence[Stack], summed: Sequence[Summed] = ()) -> None:
        self.stacks = stacks
        self.summed = summed

    @property
    def clients(self) -> NDArray[np.int64]:
        """Whose uploads these are, ascending."""
        parts = [part.clients for part in (*self.stacks, *self.summed)]
        return np.sort(np.concatenate([*parts, np.zeros(0, np.int64)]))

    def __iter__(self) -> Iterator[tuple[ClientId, Upload]]:
        if self.summed:
            raise TypeError(
                "These uploads were summed on their nodes, because the algorithm declares mean_aggregated=True; an "
                "algorithm that reads single uploads must not."
            )
        places = sorted(
            (client, s, k) for s, stack in enumerate(self.stacks) for k, client in enumerate(stack.clients.tolist())
        )
        for client, s, k in places:
            stack = self.stacks[s]
            yield client, Upload(tree_index(stack.payload, k), float(stack.num_examples[k]))


def of_clients(
    uploads: "Uploads | Sequence[tuple[ClientId, Upload]]", clients: Sequence[ClientId]
) -> "Uploads | list[tuple[ClientId, Upload]]":
    """The uploads of some of the clients; none of them may have been summed."""
    if not isinstance(uploads, Uploads):
        return [(client, upload) for client, upload in uploads if client in clients]
    stacks = []
    for stack in uploads.stacks:
        rows = np.flatnonzero(np.isin(stack.clients, clients))
        if len(rows):
            at = torch.from_numpy(rows)
            payload = {r: {name: w[at] for name, w in params.items()} for r, params in stack.payload.items()}
            stacks.append(Stack(stack.clients[rows], payload, stack.num_examples[rows]))
    return Uploads(stacks)


def mean_upload(uploads: Iterable[tuple[ClientId, Upload]], record: str) -> dict[str, Tensor]:
    """Σ n_k w_k / Σ n_k of one record of the uploads, for each name over those that have it.

    Bit-identical to ``weighted_mean`` where all clients own the same tasks: in float64, client after client.
    Where they own different ones, or were summed on several nodes, these sums are added.

    Raises:
        ValueError: no upload.
    """
    if not isinstance(uploads, Uploads):
        return weighted_mean((upload.payload[record], upload.num_examples) for _, upload in uploads)
    sums: dict[str, NDArray[np.float64]] = {}
    count: dict[str, float] = {}
    for part in (*map(add, uploads.stacks), *uploads.summed):
        for name, total in part.totals.get(record, {}).items():
            sums[name] = sums[name] + total if name in sums else total
            count[name] = count.get(name, 0.0) + part.num_examples
    if not sums:
        raise ValueError("mean_upload needs at least one client, got none; a round without an update has no mean.")
    return {name: torch.from_numpy(np.asarray(total / count[name], np.float32)) for name, total in sums.items()}


def add(stack: Stack) -> Summed:
    """The sum of a stack's uploads, in float64, client after client."""
    totals = {
        record: {
            name: weighted_sum(values.numpy().reshape(len(values), -1), stack.num_examples).reshape(values.shape[1:])
            for name, values in params.items()
        }
        for record, params in stack.payload.items()
    }
    return Summed(stack.clients, totals, float(np.cumsum(stack.num_examples)[-1]))


def weighted_sum(vectors: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ_k weights_k vectors_k of [K, size], in float64, row after row."""
    # This order of subscripts runs over the rows in order, whatever the machine; a product of matrices may not.
    return np.einsum("k,kn->n", weights, vectors, dtype=np.float64)
