"""Metrics of clients' training as columns: of each client whose update was used, and over all of these; and of each
client that was asked, its round on the simulated clock."""

from collections.abc import Mapping

import numpy as np

from fedmtl.server.round_result import TrainingMetric
from fedmtl.tables.blocks import Block, blocks_of
from fedmtl.tables.schemas import ALL_CLIENTS, TRAINING
from fedmtl.timing.round_times import Outcome, RoundTimes


def training_blocks(round: int, training: Mapping[str, TrainingMetric], times: RoundTimes | None = None) -> list[Block]:
    """A line for each metric and client, ascending, then the mean over all clients' examples.

    Args:
        round: that was trained, from 1.
        training: metrics of the round's clients.
        times: events on the simulated clock; None for none.
    """
    timed = [] if times is None else simulated_blocks(round, times)
    found = {name: one for name, one in training.items() if len(one.clients)}
    if not found:
        return timed
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
    return [*blocks_of(TRAINING.name, {"round": round, "metrics": list(found)}, columns), *timed]


def simulated_blocks(round: int, times: RoundTimes) -> list[Block]:
    """A line for each number of the simulated clock and client, then the round's own: its length, and sums.

    Args:
        round: that was trained, from 1.
        times: its events.
    """
    spent = times.download + times.compute + times.upload
    late, dropped = (times.outcome == outcome for outcome in (Outcome.LATE, Outcome.DROPPED))
    columns = {
        "simulated_download_seconds": (times.download, None),
        "simulated_compute_seconds": (times.compute, None),
        "simulated_upload_seconds": (times.upload, None),
        "simulated_seconds": (spent, times.seconds),
        "simulated_joules": (times.joules, float(times.joules.sum())),
        "simulated_wasted_bytes": (times.wasted_bytes, float(times.wasted_bytes.sum())),
        "simulated_late": (late.astype(np.float64), float(late.sum())),
        "simulated_dropped": (dropped.astype(np.float64), float(dropped.sum())),
    }
    client, metric, value = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for index, (each, total) in enumerate(columns.values()):
        client.append(times.clients if total is None else np.append(times.clients, ALL_CLIENTS))
        value.append(each if total is None else np.append(each, total))
        metric.append(np.full(len(value[-1]), index, np.int64))
    found = {"client": np.concatenate(client), "metric": np.concatenate(metric), "value": np.concatenate(value)}
    found["examples"] = np.full(len(found["client"]), np.nan)
    return blocks_of(TRAINING.name, {"round": round, "metrics": list(columns)}, found)
