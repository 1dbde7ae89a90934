"""Metrics of clients' training as columns: of each client whose update was used, and over all of these."""

import numpy as np

from fedmtl.server.round_result import TrainingLosses
from fedmtl.tables.blocks import Block, blocks_of
from fedmtl.tables.schemas import ALL_CLIENTS, TRAIN_LOSS, TRAINING


def training_blocks(round: int, training: TrainingLosses) -> list[Block]:
    """A line for each client, ascending, then the mean over all clients' examples; none without training losses.

    Args:
        round: that was trained, from 1.
        training: of the round's clients.
    """
    if not len(training.clients):
        return []
    each = training.select(np.flatnonzero(training.clients != ALL_CLIENTS))
    total = float(training.examples.sum())
    columns = {
        "client": np.append(each.clients, ALL_CLIENTS).astype(np.int64, copy=False),
        "metric": np.zeros(len(each.clients) + 1, np.int64),
        "value": np.append(each.train_loss.astype(np.float64), training.mean()),
        "examples": np.append(each.examples, total),
    }
    return blocks_of(TRAINING.name, {"round": round, "metrics": [TRAIN_LOSS]}, columns)
