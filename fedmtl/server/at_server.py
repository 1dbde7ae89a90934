"""The placement of Pooled: clients send their examples once, and an only client trains at the server on the union."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.context import context_rows
from fedmtl.core.diverged import Diverged
from fedmtl.core.random import SERVER, permutations
from fedmtl.core.trees import all_finite, tree_index, tree_stack
from fedmtl.core.types import ClientId, Upload
from fedmtl.data.base import Split
from fedmtl.data.batches import make_batches
from fedmtl.engines.base import Cohort, Engine
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.metrics_report import read_raw_data
from fedmtl.protocol.packets import PacketError
from fedmtl.protocol.plan import Plan
from fedmtl.server.on_clients import OnClients
from fedmtl.server.placement import Asked, Placement, Update
from fedmtl.server.policy import RoundPolicy
from fedmtl.server.replies import RoundReplies, first_problems
from fedmtl.server.round_result import TrainingMetric
from fedmtl.tables.schemas import ALL_CLIENTS


def placement_of(plan: Plan, engine: Engine) -> Placement:
    """Return the placement that an algorithm needs.

    Args:
        plan: of the experiment.
        engine: runs the local update, where that is the server's.
    """
    return AtServer(plan, engine) if plan.algorithm.traits.centralized else OnClients()


class AtServer:
    """Examples are at the server, which has got them with the first model; clients measure, and train nothing.

    Args:
        plan, engine: as for ``placement_of``.
    """

    def __init__(self, plan: Plan, engine: Engine) -> None:
        self._plan, self._engine = plan, engine
        self.raw_data: dict[ClientId, bytes] = {}

    def ask(self, exchange: Exchange, present: NDArray[np.int64], policy: RoundPolicy) -> Asked:
        return Asked(present[:0], present if exchange.version == 0 else present[:0])

    def update(self, state: Any, received: RoundReplies, trusted: bool, needs_all: bool, altered: bool) -> Update:
        exchange, training = received.requests.exchange, dict[str, TrainingMetric]()
        if received.requests.raw_data.any():
            self.raw_data = collect_raw_data(received, needs_all, altered)
        if exchange.train:
            state, training = train_centrally(self._plan, self._engine, exchange.number, state, self.raw_data)
        return Update(state, received.roster.clients[:0], training)


def train_centrally(
    plan: Plan, engine: Engine, round: int, state: Any, raw_data: Mapping[ClientId, bytes]
) -> tuple[Any, dict[str, TrainingMetric]]:
    """Return the server's state after the local update of an only client with all data and tasks, and its metrics.

    Args:
        raw_data: raw-data packets of round 1.

    Raises:
        Diverged: the update is not finite.
    """
    data = union(plan, raw_data)
    owned = plan.all_tasks
    (order,) = permutations(plan.seed, round, np.array([SERVER]), "batches", np.array([len(data.x)]))
    batches = make_batches(data.x, data.y, plan.batch_size, order)
    cohort = Cohort(
        clients=[SERVER],
        function=plan.training(owned),
        downs=[plan.broadcast(state, SERVER, owned, round)],
        broadcast_index=np.zeros(1, np.int64),
        private=tree_stack([plan.init_client(owned, len(data.x))]),
        steps=np.array([len(batches)]),
        batches=lambda _: [{key: value[None] for key, value in batch.items()} for batch in batches],
        owned=owned,
        context=context_rows(plan.seed, round - 1, np.array([SERVER])) if plan.reads_context(SERVER, owned) else None,
    )
    (results,) = engine.map([cohort])
    payload, num_examples = tree_index(results.upload, 0)
    if not all_finite(payload):
        raise Diverged(f"Round {round}: {plan.algorithm!r} diverged; lower the learning rate.")
    upload = Upload(payload, float(num_examples))
    ctx = plan.server_context(round, "aggregate")
    return plan.algorithm.aggregate(state, [(SERVER, upload)], ctx), _training(len(data.x), results.metrics)


def _training(examples: int, metrics: Mapping[str, Any]) -> dict[str, TrainingMetric]:
    alone, weight = np.array([ALL_CLIENTS]), np.array([float(examples)])
    return {name: TrainingMetric(alone, weight, np.asarray(metrics[name], np.float32)) for name in sorted(metrics)}


def union(plan: Plan, raw_data: Mapping[ClientId, bytes]) -> Split:
    """Join the examples of all clients in client order; a label that a client does not have is NaN."""
    parts = [read_raw_data(plan, 1, packet) for _, packet in sorted(raw_data.items())]
    labels = {}
    for name, task in plan.tasks.items():
        blank = [np.full((len(part.x), *task.label_shape), np.nan, np.float32) for part in parts]
        labels[name] = np.concatenate([part.y.get(name, b) for part, b in zip(parts, blank, strict=True)])
    return Split(np.concatenate([part.x for part in parts]), labels)


def collect_raw_data(replies: RoundReplies, needs_all: bool, altered: bool) -> dict[ClientId, bytes]:
    """Return the raw-data packets of all clients, or of those whose nodes did not alter them.

    Args:
        replies: of round 1.
        needs_all: raise where one client's data are missing.
        altered: a node's reply was altered, so that its clients can be left out.

    Raises:
        RuntimeError: missing data that the run cannot do without.
    """
    found = replies.raw_data()
    for client, packet in list(found.items()):
        try:
            read_raw_data(replies.plan, replies.round, packet, replies.roster[client])
        except PacketError as error:
            replies.leave_out({client: str(error)}, "packet")
            del found[client]
    if replies.problems and (needs_all or not found or not (altered or replies.rejections)):
        raise RuntimeError(
            f"{replies.plan.algorithm!r} needs the data of all clients; none came from clients "
            f"{sorted(replies.problems)[:10]}: {first_problems(replies.problems)}."
        )
    return found
