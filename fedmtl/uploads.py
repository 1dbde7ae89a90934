"""The uploads of a round as the server has them: stacked, and one by one for who asks for them so."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.trees import row, weighted_mean
from fedmtl.types import ClientId, Payload, Upload


class Stack(NamedTuple):
    """Uploads of K clients whose payloads have the same names and shapes."""

    clients: NDArray[np.int64]
    """Ascending, [K]."""
    payload: Payload
    """Arrays [K, …]."""
    num_examples: NDArray[np.float64]
    """n_k, positive and finite, [K]."""


class Uploads(Iterable[tuple[ClientId, Upload]]):
    """All uploads of a round; iterated, in client order."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self.stacks = stacks

    @property
    def clients(self) -> NDArray[np.int64]:
        """Whose uploads these are, ascending."""
        return np.sort(np.concatenate([stack.clients for stack in self.stacks] or [np.zeros(0, np.int64)]))

    def __iter__(self) -> Iterator[tuple[ClientId, Upload]]:
        places = sorted(
            (client, s, k) for s, stack in enumerate(self.stacks) for k, client in enumerate(stack.clients.tolist())
        )
        for client, s, k in places:
            stack = self.stacks[s]
            yield client, Upload(row(stack.payload, k), float(stack.num_examples[k]))


def mean_upload(uploads: Iterable[tuple[ClientId, Upload]], record: str) -> dict[str, Tensor]:
    """Σ n_k w_k / Σ n_k of one record of the uploads, for each name over those that have it.

    As ``weighted_mean`` computes it, to the bit where all clients own the same tasks: in float64, client after client.
    Where they own different ones, the sums of each set of tasks are added.

    Raises:
        ValueError: no upload.
    """
    if not isinstance(uploads, Uploads):
        return weighted_mean((upload.payload[record], upload.num_examples) for _, upload in uploads)
    sums: dict[str, NDArray[np.float64]] = {}
    total: dict[str, float] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for stack in uploads.stacks:
        for name, values in stack.payload.get(record, {}).items():
            flat = values.numpy().reshape(len(stack.clients), -1)
            # This order of subscripts runs over the clients in order, whatever the machine; a product of matrices
            # may not.
            part = np.einsum("k,kn->n", stack.num_examples, flat, dtype=np.float64)
            sums[name] = sums[name] + part if name in sums else part
            total[name] = total.get(name, 0.0) + float(np.cumsum(stack.num_examples)[-1])
            shapes[name] = tuple(values.shape[1:])
    if not sums:
        raise ValueError("mean_upload needs at least one client, got none; a round without an update has no mean.")
    return {
        name: torch.from_numpy((s / total[name]).astype(np.float32)).reshape(shapes[name]) for name, s in sums.items()
    }
