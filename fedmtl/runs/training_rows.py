"""Metrics of clients' training as columns: of each client whose update was used, and over all of these."""

from collections.abc import Mapping

import numpy as np

from fedmtl.server.round_result import TrainingMetric
from fedmtl.tables.blocks import Block, blocks_of
from fedmtl.tables.schemas import ALL_CLIENTS, TRAINING


def training_blocks(round: int, training: Mapping[str, TrainingMetric]) -> list[Block]:
    """A line for each metric and client, ascending, then the mean over all clients' examples.

    Args:
        round: that was trained, from 1.
        training: metrics of the round's clients.
    """
    found = {name: one for name, one in training.items() if len(one.clients)}
    if not found:
        return []
    parts = []
    for index, one in enumerate(found.values()):
        each = one.select(np.flatnonzero(one.clients != ALL_CLIENTS))
        parts.append(
            {
                "client": np.append(each.clients, ALL_CLIENTS).astype(np.int64, copy=False),
                "metric": np.full(len(each.clients) + 1, index, np.int64),
                "value": np.append(each.values.astype(np.float64), one.mean()),
                "examples": np.append(each.examples, float(one.examples.sum())),
            }
        )
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return blocks_of(TRAINING.name, {"round": round, "metrics": list(found)}, columns)
