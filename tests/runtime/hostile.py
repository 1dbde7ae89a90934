"""Nodes in this process behind a Grid that shares no memory, as devices; the replies of one of them are altered."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from flwr.app import Array, Context, Error, Message
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from fedmtl.algorithms import FedPer
from fedmtl.client.client_pool import ClientPool
from fedmtl.client.data_shard import shard_of
from fedmtl.client.state.files import MemoryBackend, VersionedFileStore
from fedmtl.data.base import Federation
from fedmtl.engines import Loop
from fedmtl.protocol.header import make_packet
from fedmtl.protocol.packets import REPORT, UP
from fedmtl.protocol.plan import Plan
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.recorder import Recorder
from fedmtl.runs.result import Result
from fedmtl.runtime import Flower
from fedmtl.runtime.direct_grid import new_run_id
from fedmtl.runtime.flower.client_app import app as client_app
from fedmtl.runtime.flower.messages import PACKETS, REPLIES
from fedmtl.runtime.flower.server_app import serve
from fedmtl.runtime.local import node_context
from fedmtl.runtime.node import HostedNode, host, shard
from tests.engines.remembered import remembered
from tests.server.toy import DATA, MODEL

Alter = Callable[[Any], Any]
"""Changes the content of a reply in place."""

NODES = 2
"""Node 1 hosts clients 0, 2, 4; node 2 hosts 1, 3."""

OWN, OTHERS = [0, 2, 4], [1, 3]


def experiment(**changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "data": DATA,
        "model": MODEL,
        "algorithm": FedPer(epochs=1),
        "rounds": 3,
        "batch_size": 4,
        "runtime": Flower(wait_seconds=0.3),
        "engine": "loop",
        "train_loss": True,
        **changes,
    }
    return _made.setdefault(repr(values), Experiment(**values))


_made: dict[str, Experiment] = {}
"""One for equal settings, so that its plan is made once for all tests."""


@cache
def loaded(data: Any, seed: int) -> Federation:
    """Return the data, which is loaded once."""
    return data.load(seed)


def plan_of(experiment: Experiment) -> Plan:
    """Return the nodes' plan, made once: until the altered reply, runs that differ in it alone compute the same."""
    name = repr(experiment)
    if name not in _plans:
        made = experiment.make_plan(loaded(experiment.data, experiment.seed).schema)
        _plans[name] = remembered(made) if isinstance(experiment.engine, Loop) else made
    return _plans[name]


_plans: dict[str, Plan] = {}


class Wire(Grid):
    """A Grid as Flower's: no memory is shared.

    Args:
        experiment: what runs.
        replies: round -> how the reply of the bad node is altered in it.
        roster: how its roster is altered.
        bad: the bad node.
        ask: how messages to all nodes are altered on their way.
    """

    def __init__(
        self,
        experiment: Experiment,
        replies: dict[str, Alter] | None = None,
        roster: Alter | None = None,
        bad: int = 1,
        ask: Alter | None = None,
    ) -> None:
        self.run_id = new_run_id()
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = self.run_id, 0, self.run_id
        self._replies, self._roster, self._bad, self._ask = replies or {}, roster, bad, ask
        self.contexts: dict[int, Context] = {}
        self.seen: list[Message] = []
        federation, plan = loaded(experiment.data, experiment.seed), plan_of(experiment)
        for k in range(NODES):
            clients = {c: federation.clients[c] for c in shard(federation.clients, k, NODES)}
            client_pool = ClientPool(plan, shard_of(clients), experiment.make_engine(), experiment.rounds)
            host(self.run_id, k + 1, HostedNode(client_pool, VersionedFileStore(MemoryBackend())))
            self.contexts[k + 1] = node_context(self.run_id, k + 1)

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        found = []
        for message in messages:
            if self._ask is not None and message.metadata.message_type != "query":
                self._ask(message.content)
            node = message.metadata.dst_node_id
            reply = client_app(message, self.contexts[node])
            if node == self._bad:
                query = message.metadata.message_type == "query"
                alter = self._roster if query else self._replies.get(message.metadata.group_id)
                if alter is not None:
                    altered = alter(reply.content)
                    reply = altered if isinstance(altered, Message) else reply
                    if isinstance(altered, Error):
                        reply = Message(altered, reply_to=message)
            found.append(reply)
        self.seen += found
        return found

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any:
        raise RuntimeError("This grid has no Flower run.")

    def create_message(self, *arguments: Any, **settings: Any) -> Any: ...

    def push_messages(self, messages: Any) -> Any: ...

    def pull_messages(self, message_ids: Any) -> Any: ...


@dataclass
class Ran:
    """A run, its problems and its warnings."""

    result: Result
    problems: list[dict[int, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def model(self) -> str:
        return self.result.summary["digests"]["server_state"]

    @property
    def rejected(self) -> dict[str, int]:
        return self.result.summary["rejected"]

    def measured(self, round: int) -> set[int]:
        return {row["client"] for row in self.result.rows if row["round"] == round} - {None}


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def play(settings: Experiment | None = None, examples: Any = "known", **wire: Any) -> Ran:
    """A run over ``Wire``, with its warnings.

    Args:
        settings: the experiment.
        examples: that the server knows of each client, where they are not those of the data.
        wire: of ``Wire``.
    """
    chosen = settings or experiment()
    lines, logger = _Lines(), logging.getLogger("fedmtl")
    logger.addHandler(lines)
    problems: list[dict[int, str]] = []
    try:
        grid = Wire(chosen, **wire)
        schema = loaded(chosen.data, chosen.seed).schema
        result = serve(
            grid,
            chosen,
            schema if isinstance(examples, str) else schema._replace(examples=examples),
            Recorder(chosen, None),
            lambda progress: problems.append(dict(progress.problems)),
        )
    finally:
        logger.removeHandler(lines)
    return Ran(result, problems, lines.lines)


# Alterations of a reply


def split(content: Any) -> tuple[list[bytes], list[bytes]]:
    """The packets of updates and of reports."""
    data = bytes(content[PACKETS][PACKETS].data)
    packets, at = [], 0
    lengths = [np.frombuffer(content[REPLIES][key], "<i8").tolist() for key in ("update", "report")]
    for length in [*lengths[0], *lengths[1]]:
        packets.append(data[at : at + length])
        at += length
    return packets[: len(lengths[0])], packets[len(lengths[0]) :]


def put(content: Any, updates: list[bytes], reports: list[bytes]) -> None:
    """Undo ``split``."""
    content[REPLIES]["update"] = ints(*map(len, updates))
    content[REPLIES]["report"] = ints(*map(len, reports))
    put_bytes(content, b"".join([*updates, *reports]))


def put_bytes(content: Any, data: bytes) -> None:
    content[PACKETS][PACKETS] = Array("uint8", (len(data),), "fedmtl.packets", data)


def ints(*values: int) -> bytes:
    return np.array(values, "<i8").tobytes()


def reseal(
    packet: bytes, body: bytes | None = None, weight: float | None = None, kind: int = UP, **header: Any
) -> bytes:
    """A packet with a good checksum and another body, weight, kind, round, digest or training loss."""
    round = header.get("round", int.from_bytes(packet[16:20], "little"))
    digest = header.get("digest", packet[8:16])
    old, loss = np.frombuffer(packet[20:28], "<f4").tolist()
    loss = header.get("loss", loss)
    return make_packet(
        kind, digest, round, old if weight is None else weight, packet[32:] if body is None else body, loss
    )


def filled(packet: bytes, value: float) -> bytes:
    """As many numbers, all of this value."""
    return np.full((len(packet) - 32) // 4, value, "<f4").tobytes()


def update(change: Callable[[bytes], bytes], row: int = 0) -> Alter:
    """Another packet in place of an update."""

    def alter(content: Any) -> None:
        updates, reports = split(content)
        updates[row] = change(updates[row])
        put(content, updates, reports)

    return alter


def report(values: Callable[[np.ndarray], Any], row: int = 0) -> Alter:
    """Other sums in place of a report's."""

    def alter(content: Any) -> None:
        updates, reports = split(content)
        old = np.frombuffer(reports[row][32:], "<f8").copy()
        new = np.broadcast_to(np.asarray(values(old), "<f8"), old.shape)
        reports[row] = reseal(reports[row], new.astype("<f8").tobytes(), 0.0, REPORT)
        put(content, updates, reports)

    return alter


def edit(key: str, value: Any, record: str = REPLIES) -> Alter:
    """Another value in a record."""

    def alter(content: Any) -> None:
        content[record][key] = value(content[record][key]) if callable(value) else value

    return alter


def both(*alterations: Alter) -> Alter:
    def alter(content: Any) -> None:
        for each in alterations:
            each(content)

    return alter


def silent(*rows: int) -> Alter:
    """Leave out the updates of some rows, as a client does whose update is not finite."""

    def alter(content: Any) -> None:
        updates, reports = split(content)
        put(content, [b"" if k in rows else packet for k, packet in enumerate(updates)], reports)
        clients = np.frombuffer(content[REPLIES]["clients"], "<i8").tolist()
        content[REPLIES]["troubled"] = [clients[row] for row in rows]
        content[REPLIES]["problems"] = ["its update is not finite" for _ in rows]

    return alter
