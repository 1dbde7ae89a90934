"""Validation parts: on every client some of its training examples are held out, and rounds are measured on them.

Which ones follows from the seed, the client and how many it has, so that every runtime, and a node that restarts,
holds out the same. Nothing of the test part is looked at.
"""

import numpy as np

from fedmtl.client.data_shard import Shard, ShardRows, ShardTable
from fedmtl.core.random import permutations
from fedmtl.data.disk import some_rows
from fedmtl.data.validation import valid_sizes

AT_ONCE = 2**22
"""Random numbers that are drawn at once."""


def with_validation(shard: Shard, fraction: float, seed: int) -> Shard:
    """Move a validation part out of each client's training part; both keep their order."""
    return shard if fraction == 0 else Shard([_divided(table, fraction, seed) for table in shard.tables])


def _divided(table: ShardTable, fraction: float, seed: int) -> ShardTable:
    train = table.train
    held = valid_sizes(train.size, fraction)
    ends = np.cumsum(train.size)
    first = ends - train.size
    is_held = np.zeros(int(ends[-1]) if len(ends) else 0, bool)
    step = max(1, AT_ONCE // max(1, int(train.size.max(initial=1))))
    for start in range(0, len(held), step):
        some = slice(start, start + step)
        order = permutations(seed, 0, table.clients[some], "valid", train.size[some])
        chosen = np.arange(order.shape[1]) < held[some, None]
        is_held[(first[some, None] + order)[chosen]] = True
    owner = np.repeat(np.arange(len(held)), train.size)
    rows = np.arange(len(owner)) + np.repeat(train.start - first, train.size)
    rows = rows[np.argsort(2 * owner + is_held, kind="stable")]  # a client's examples, those held out last
    x, y = some_rows(train.x, rows), {task: labels[rows] for task, labels in train.y.items()}
    kept = train.size - held
    return table._replace(train=ShardRows(x, y, first, kept), valid=ShardRows(x, y, first + kept, held))
