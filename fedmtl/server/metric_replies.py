"""Metrics of a round: the reports of all nodes, checked, by set of tasks."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics import Tally
from fedmtl.metrics.tally import joined
from fedmtl.protocol.metrics_report import read_full_reports, read_reports
from fedmtl.protocol.packets import PacketError
from fedmtl.server.influence import size_limits
from fedmtl.server.replies import RoundReplies
from fedmtl.server.round_result import ClientMetrics
from fedmtl.tables.schemas import VALID
from fedmtl.tasks.checks import possible


class MetricReports(NamedTuple):
    """Sums of metrics of the clients of one node and one set of tasks."""

    task_set: int
    """Its index among the sets of the roster."""
    node: int | None
    clients: NDArray[np.int64]
    sums: dict[str, NDArray[np.float64]]
    tallies: dict[str, Tally]


def client_metrics(replies: RoundReplies) -> list[ClientMetrics]:
    """Read the good reports, by set of tasks; of a damaged one only its client's metrics are missing."""
    exchange, parts = replies.requests.exchange, list[MetricReports]()
    for sent, rows, places in replies.matched:
        some = replies.requests.evaluate[places] & (sent.reports.lengths[rows] > 0)
        rows, places, node = rows[some], places[some], sent.node
        for index in np.unique(replies.task_set[places]).tolist():
            of = np.flatnonzero(replies.task_set[places] == index)
            clients = replies.requests.clients[places[of]]

            def damaged(k: int, error: PacketError, clients: Any = clients, node: int | None = node) -> None:
                replies.leave_out_part(error.kind, node, int(clients[k]), str(error), "report")

            packets = sent.reports.select(rows[of])
            owned = replies.roster.task_sets[index]
            if exchange.full:
                good, sums, tallies = read_full_reports(replies.plan, replies.round, owned, packets, damaged)
            else:
                good, sums = read_reports(replies.plan, replies.round, owned, packets, damaged)
                tallies = {}
            parts.append(MetricReports(index, node, clients[good], sums, tallies))
    if replies.bounds is not None:
        parts = _possible(replies, parts)
    measured: dict[int, list[MetricReports]] = {}
    for part in parts:
        measured.setdefault(part.task_set, []).append(part)
    found = []
    for _, some in sorted(measured.items()):
        clients = np.concatenate([part.clients for part in some])
        order = np.argsort(clients)
        sums = {task: np.concatenate([part.sums[task] for part in some])[order] for task in some[0].sums}
        tallies = {task: joined([part.tallies[task] for part in some]).select(order) for task in some[0].tallies}
        if len(clients):
            found.append(ClientMetrics(exchange.version, clients[order], sums, exchange.on, tallies))
    return found


def _possible(replies: RoundReplies, parts: list[MetricReports]) -> list[MetricReports]:
    """Leave out the clients whose sums no metric can have."""
    counts = [np.max([sums[:, 0] for sums in part.sums.values()], axis=0) for part in parts]
    known = [replies.examples_of(part.clients, 2 if replies.requests.exchange.on == VALID else 1) for part in parts]
    largest = size_limits(1.0, counts, known, [part.node for part in parts])
    kept = []
    for (index, node, clients, sums, tallies), limits in zip(parts, largest, strict=True):
        good = np.ones(len(clients), bool)
        for task, values in sums.items():
            bad = good & ~possible(replies.plan.tasks[task], values, limits)
            for k in np.flatnonzero(bad).tolist():
                shown = ", ".join(f"{number:g}" for number in values[k, :6])
                most = f"{limits[k]:g} {replies.requests.exchange.on} examples"
                reason = f"sums of task {task!r} that no metric has, of {most}: {shown}"
                replies.leave_out_part("metrics", node, int(clients[k]), reason, "report")
            good &= ~bad
        for task, tally in tallies.items():
            safe = np.where(good[:, None], sums[task], 0.0)
            bad = good & ~replies.plan.kinds[task].possible(safe, tally)
            for k in np.flatnonzero(bad).tolist():
                most = f"{sums[task][k, 0]:g} {replies.requests.exchange.on} examples"
                reason = f"counts of task {task!r} that no outputs have, of {most}"
                replies.leave_out_part("metrics", node, int(clients[k]), reason, "report")
            good &= ~bad
        rows = np.flatnonzero(good)
        sums = {task: values[rows] for task, values in sums.items()}
        tallies = {task: tally.select(rows) for task, tally in tallies.items()}
        kept.append(MetricReports(index, node, clients[rows], sums, tallies))
    return kept
