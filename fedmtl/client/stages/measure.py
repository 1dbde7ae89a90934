"""Second stage: clients measure the model that they received, before training."""

import time

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.data_shard import ShardRows
from fedmtl.client.predictions import tallies
from fedmtl.client.stages.exchange import LoadedExchange
from fedmtl.client.stages.load import ClientGroup
from fedmtl.protocol.metrics_report import report_packets
from fedmtl.protocol.packets import PacketRows
from fedmtl.protocol.requests import Requests
from fedmtl.tables.schemas import VALID

EVALUATION_BATCH = 256
"""Examples that are measured at once; results do not depend on it beyond rounding."""


def measure(exchange: LoadedExchange, groups: list[ClientGroup]) -> list[PacketRows]:
    """Return the reports of the clients that are to measure."""
    start = time.perf_counter()
    plan, requests = exchange.plan, exchange.requests
    parts = [(group, _measured_part(requests, group)) for group in groups]
    measured = [(group, rows, some) for group, rows in parts if len(some := _measuring(requests, group, rows))]
    cohorts = [
        group.cohort(group.plan.measure(group.table.owned), rows, some, None, EVALUATION_BATCH)
        for group, rows, some in measured
    ]
    padding = plan.task_padding(plan.measure(plan.all_tasks))
    results = exchange.engine.map(cohorts, padding) if cohorts else []
    # Statistics beside the primary metric's run apart, so that it has the same bits with and without them.
    full = requests.exchange.full and plan.metrics != "primary"
    tallied = [tallies(exchange.engine, *each) if full else None for each in measured]
    reports = [
        (group.positions[some], report_packets(plan, exchange.round, group.table.owned, sums, more))
        for (group, _, some), sums, more in zip(measured, results, tallied, strict=True)
    ]
    exchange.spend("evaluate", start)
    return reports


def _measured_part(requests: Requests, group: ClientGroup) -> ShardRows:
    """Return the examples that clients of a group are to measure on.

    Raises:
        ValueError: a part that this experiment does not have.
    """
    rows = group.table.valid if requests.exchange.on == VALID else group.table.test
    if rows is None:
        raise ValueError("A validation part is asked for, and this experiment has none (valid_fraction=0).")
    return rows


def _measuring(requests: Requests, group: ClientGroup, rows: ShardRows) -> NDArray[np.int64]:
    """Return the rows of a group's clients that are to measure and have an example."""
    return np.flatnonzero(requests.evaluate[group.positions] & (rows.size[group.rows] > 0))
