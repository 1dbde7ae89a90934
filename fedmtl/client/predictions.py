"""Statistics of metrics beside the primary one, of a node's clients: outputs come from the engine, stacked.

A client's test examples are cut into pieces, and pieces of about one size run together, as if each were a client. So
results have one shape, whatever the sizes of clients, and what is counted is as sparse as the examples are.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.client.data_shard import ShardRows, rows_at
from fedmtl.client.stages.load import ClientGroup
from fedmtl.core.trees import tree_map
from fedmtl.core.types import Batch
from fedmtl.engines.base import Cohort, Engine
from fedmtl.metrics import Tally
from fedmtl.metrics.tally import tally
from fedmtl.tasks.base import output_shape

PIECE = 256
"""Examples of a piece at most."""

TOGETHER = 2**22
"""Numbers of outputs in memory at most, but for one example."""


class _Piece(NamedTuple):
    """Pieces that run together: [P] each."""

    member: NDArray[np.int64]
    """The client's row among ``members``."""
    start: NDArray[np.int64]
    """Its first example among the rows."""
    size: NDArray[np.int64]


def tallies(engine: Engine, group: ClientGroup, rows: ShardRows, members: NDArray[np.int64]) -> dict[str, Tally]:
    """Task -> the statistics of some of a group's clients, in their order.

    Args:
        engine: runs them.
        group: the clients.
        rows: the examples that they are measured on.
        members: which of the clients, [K], each with an example or more.
    """
    plan = group.plan
    kinds = {task: plan.kinds[task] for task in group.table.owned if task in plan.kinds}
    if not kinds:
        return {}
    size = rows.size[group.rows[members]]
    found: dict[str, list[tuple[Any, Any, Any]]] = {task: [] for task in kinds}
    numbers = {task: np.zeros((len(members), kind.numbers)) for task, kind in kinds.items()}
    widest = max(math.prod(output_shape(plan.tasks[task].outputs)) for task in kinds)
    for pieces, width in _pieces(size, rows.start[group.rows[members]], widest):
        outputs = engine.map([_cohort(group, rows, members, pieces, width)])[0]
        real = torch.arange(width)[None] < torch.from_numpy(pieces.size)[:, None]
        examples = (torch.from_numpy(pieces.start)[:, None] + torch.arange(width)[None])[real]
        owner = np.repeat(pieces.member, pieces.size)
        for task, kind in kinds.items():
            events = kind.events(outputs[task][real].numpy(), rows.y[task][examples].numpy())
            for column in range(kind.numbers):
                numbers[task][:, column] += np.bincount(owner, events[2][:, column], len(members))
            part = tally(owner[events[0]], events[1], None, numbers[task])
            found[task].append((part.owners, part.cells, part.counts))
    merged = {}
    for task, parts in found.items():
        owners, cells, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        merged[task] = tally(owners, cells, counts, numbers[task])
    return merged


def _pieces(size: NDArray[np.int64], start: NDArray[np.int64], outputs: int) -> Iterator[tuple[_Piece, int]]:
    """Pieces of all clients, by the width that they are padded to: a power of two."""
    piece = min(PIECE, 2 ** max(0, (TOGETHER // outputs).bit_length() - 1))  # of large maps, fewer
    count = -(-size // piece)
    member = np.repeat(np.arange(len(size)), count)
    place = np.arange(len(member)) - np.repeat(np.cumsum(count) - count, count)
    sizes = np.minimum(size[member] - piece * place, piece)
    widths = 2 ** np.ceil(np.log2(sizes)).astype(np.int64)
    for width in np.unique(widths).tolist():
        some = np.flatnonzero(widths == width)
        most = max(1, TOGETHER // (width * outputs))
        for first in range(0, len(some), most):
            chosen = some[first : first + most]
            yield _Piece(member[chosen], (start[member] + piece * place)[chosen], sizes[chosen]), width


def _cohort(group: ClientGroup, rows: ShardRows, members: NDArray[np.int64], pieces: _Piece, width: int) -> Cohort:
    """The pieces, each a client of one batch."""
    chosen = members[pieces.member]
    return Cohort(
        clients=group.clients[chosen].tolist(),
        function=group.plan.outputs(group.table.owned),
        downs=group.downs,
        broadcast_index=group.broadcast_index[chosen],
        private=tree_map(lambda leaf: leaf[chosen], group.states["private"]),
        steps=np.ones(len(chosen), np.int64),
        batches=partial(_batch, rows, pieces, width),
        owned=group.table.owned,
        bytes_read=np.full(len(chosen), width * rows.bytes_of_one) if rows.bytes_of_one else None,
    )


def _batch(rows: ShardRows, pieces: _Piece, width: int, some: NDArray[np.int64]) -> list[Batch]:
    """The only batch of some pieces; what is padded repeats an example."""
    size = torch.from_numpy(pieces.size[some])[:, None]
    index = torch.arange(width)[None].expand(len(some), width)
    place = torch.from_numpy(pieces.start[some])[:, None] + torch.minimum(index, size - 1)

    labels: Mapping[str, Tensor] = {f"y.{task}": rows_at(y, place) for task, y in rows.y.items()}
    return [{"x": rows_at(rows.x, place), **labels, "index": index.contiguous(), "mask": (index < size).float()}]
