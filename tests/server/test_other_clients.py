"""No client is taken for another: four unlike clients at once against a loop of single ones.

The clients differ in data, sizes, heads, error memories and, where the algorithm has them, broadcasts. The *second* of
them fails in every way that a client can, one a round: its upload is not finite, its private state is not, its packet
is damaged, short, or cannot be decoded, its reply is late, it is measured but not sampled. Everything that the others
then send, and everything that is measured, must be what ``single.Single`` makes client by client: the same bytes with
engine "loop", and the same numbers with "vmap".
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedmtl.algorithms import Algorithm, Ditto, FedAMP, FedPer, FedU, Mocha, Scaffold, TaskWeighted
from fedmtl.client.client_pool import ClientPool
from fedmtl.client.state.base import StateStore
from fedmtl.client.state.files import MemoryBackend, VersionedFileStore
from fedmtl.client.state.mmap import MmapStateStore
from fedmtl.codecs import FP16, Codec, Dense, ErrorFeedback, Int8, TopK
from fedmtl.core.trees import tree_leaves
from fedmtl.core.types import ClientId, TaskSet, Trained
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.engines import Engine, Loop, VMap
from fedmtl.engines.base import Cohort, TaskPadding
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.header import make_packet
from fedmtl.protocol.make_plan import make_plan
from fedmtl.protocol.packets import HEADER_BYTES, UP
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import Reply, replies_of
from fedmtl.server.on_clients import OnClients
from fedmtl.server.server import Server
from fedmtl.server.synchronous import Synchronous
from fedmtl.weightings import MGDA, CAGrad, PCGrad
from tests.conftest import ALL_ALGORITHMS, tiny, tiny_model
from tests.engines.remembered import remembered
from tests.server.single import Single
from tests.server.toy import rounds_of

SECOND: ClientId = 1
OWNERS: dict[ClientId, TaskSet] = {
    0: ("amount", "kind"),
    1: ("amount", "kind"),
    4: ("amount", "kind"),
    9: ("flag", "kind"),
}
"""The second client is in the middle of three that are run together, and one has other heads."""
EVERY = tuple(OWNERS)
NODES = ((1, 9, 4), (0,))
"""Replies come from two, in an order of clients that is not its own inverse."""


@dataclass(frozen=True)
class Step:
    """A round, and what fails in it."""

    cohort: tuple[ClientId, ...] = EVERY
    private_fails: tuple[ClientId, ...] = ()
    upload_fails: tuple[ClientId, ...] = ()
    damaged: tuple[ClientId, ...] = ()
    """A bit of the packet is another, which its checksum shows."""
    short: tuple[ClientId, ...] = ()
    """Its last byte is missing."""
    cut: tuple[ClientId, ...] = ()
    """The packet fits its checksum, but the codec cannot decode its body."""
    late: tuple[ClientId, ...] = ()


STEPS = (
    Step(),
    Step(upload_fails=(SECOND,)),
    Step(private_fails=(SECOND,)),
    Step(damaged=(SECOND,)),
    Step(short=(SECOND,)),
    Step(cut=(SECOND,)),
    Step(cohort=(0, 4, 9)),
    Step(cohort=(1, 4, 9), upload_fails=(SECOND,)),
    Step(late=(SECOND,)),
    Step(),
)
"""The last round shows what the others have left behind. All clients are measured in each second round, beginning with
the first; in the others only the cohort has requests."""


def few(k: int) -> tuple[Step, ...]:
    """For one algorithm of many: an update that cannot be sent, a private state that cannot, one of the four ways not
    to arrive, after each of which the server has the others' uploads alone and the sender goes on as if it had, and a
    round without it."""
    lost = (Step(damaged=(SECOND,)), Step(short=(SECOND,)), Step(cut=(SECOND,)), Step(late=(SECOND,)))[k % 4]
    upload, private = Step(cohort=(1, 4, 9), upload_fails=(SECOND,)), Step(private_fails=(SECOND,))
    return (Step(), upload, private, lost, Step(cohort=(0, 4, 9)), Step())


class Failing:
    """An engine that puts one NaN into the results of some clients."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.step = Step()

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        results = self.inner.map(cohorts, padding)
        for cohort, result in zip(cohorts, results, strict=True):
            if isinstance(result, Trained):
                for tree, failing in (
                    (result.private, self.step.private_fails),
                    (result.upload.payload, self.step.upload_fails),
                ):
                    for client in failing:
                        if client in list(cohort.clients):
                            _poison(tree, list(cohort.clients).index(client))
        return results


def _poison(tree: Any, row: int) -> None:
    """One NaN, the last number of the first array of a row."""
    for leaf in tree_leaves(tree):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf[row].numel():
            leaf[(row, *[-1] * (leaf.ndim - 1))] = torch.nan
            return


class Drawn(Synchronous):
    """Rounds whose cohort is given."""

    def __init__(self, cohort: Sequence[ClientId]) -> None:
        super().__init__(len(cohort), 0)
        self.__dict__["cohort"] = np.array(cohort, np.int64)

    def ask(self, exchange: Exchange, present: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.__dict__["cohort"]


class Together:
    """One node and one server for all clients."""

    def __init__(self, plan: Plan, federation: Federation, engine: Engine, store: StateStore) -> None:
        self.engine = Failing(engine)
        self.client_pool = ClientPool(plan, federation.clients, self.engine)
        owners = {client: data.tasks for client, data in federation.clients.items()}
        self.server = Server(plan, owners, **rounds_of(len(owners), 1.0, len(STEPS), 2), placement=OnClients())
        self.store = store
        self.sums: dict[ClientId, dict[str, NDArray[np.float64]]] = {}
        """Client -> what the last round measured."""

    def round(self, round: int, step: Step) -> dict[ClientId, bytes]:
        """The updates that were sent."""
        self.engine.step = step
        self.server.policy = Drawn(step.cohort)
        exchange = self.server.schedule.exchange(round - 1)
        assert exchange is not None
        requests = self.server.open_round(exchange)
        replies = list(self.client_pool.handle(requests, self.store))
        sent = {reply.client: reply.update for reply in replies if reply.client in step.cohort and not reply.problem}
        arrived = {reply.client: reply for reply in _on_the_way(replies, step)}
        nodes = [replies_of(arrived[client] for client in node if client in arrived) for node in NODES]
        outcome = self.server.close_round(requests, nodes)
        self.sums = {
            client: {task: values[k] for task, values in part.sums.items()}
            for part in outcome.measurements
            for k, client in enumerate(part.clients.tolist())
        }
        return sent


def _on_the_way(replies: Sequence[Reply], step: Step) -> Iterator[Reply]:
    for reply in replies:
        if reply.client in step.damaged and reply.update:
            middle = len(reply.update) // 2
            flipped = bytes([reply.update[middle] ^ 1])
            reply = reply._replace(update=reply.update[:middle] + flipped + reply.update[middle + 1 :])
        if reply.client in step.short:
            reply = reply._replace(update=reply.update[:-1])
        if reply.client in step.cut and reply.update:
            digest, round, weight = _header(reply.update)
            reply = reply._replace(update=make_packet(UP, digest, round, weight, reply.update[HEADER_BYTES:-1]))
        if reply.client not in step.late:
            yield reply


def _header(packet: bytes) -> tuple[bytes, int, float]:
    """Digest of the Spec, round and number of examples."""
    return packet[8:16], int.from_bytes(packet[16:20], "little"), struct.unpack_from("<f", packet, 20)[0]


def plan_of(federation: Federation, algorithm: Algorithm[Any, Any], codec: Codec[Any]) -> Plan:
    return make_plan(
        federation.schema,
        algorithm=algorithm,
        model=tiny_model(algorithm),
        up_codec=codec,
        down_codec=Dense(),
        batch_size=4,
        seed=0,
        train_loss=True,
    )


def untested(federation: Federation, client: ClientId) -> Federation:
    """The federation whose client has no test examples: the others' measurements must not move into its place."""
    data = federation.clients[client]
    empty = Split(data.test.x[:0], {task: values[:0] for task, values in data.test.y.items()})
    clients = {**federation.clients, client: ClientData(data.train, empty)}
    return Federation(federation.tasks, federation.input_shape, clients)


STATELESS = (MGDA, PCGrad, CAGrad)
"""Weightings that keep nothing: a client keeps and sends what it does with Equal."""

SENDING = [
    algorithm
    for algorithm in ALL_ALGORITHMS
    if not algorithm.traits.centralized
    and not (isinstance(algorithm, TaskWeighted) and isinstance(algorithm.weighting, STATELESS))
]


LOSS = 24
"""Place of the training loss in an upload's header; the checksum, of it too, is in the first 4 bytes."""


def _but_loss(packet: bytes) -> bytes:
    """The packet without its training loss, a mean that is equal to rounding: no update depends on it."""
    return packet[4:LOSS] + packet[LOSS + 4 :]


def compare(
    algorithm: Algorithm[Any, Any],
    codec: Codec[Any],
    engine: Engine,
    store: StateStore,
    exact: bool,
    steps: Sequence[Step] = STEPS,
) -> None:
    """Both ways, round by round."""
    federation = untested(tiny(OWNERS, binary=isinstance(algorithm, Mocha)), 0)
    plan = plan_of(federation, algorithm, codec)
    # Both ways call the same pure functions: one that gets equal bits from both is computed once.
    single = Single(remembered(plan) if exact else plan, federation)
    together = Together(plan if exact else plan_of(federation, algorithm, codec), federation, engine, store)
    for t, step in enumerate(steps, 1):
        clients = [client for client in EVERY[1:] if client not in step.late and t % 2]
        measured = {client: single.sums(client, t) for client in clients}
        # Where nothing travels, nothing is damaged or late.
        lost = [
            c
            for c in (*step.damaged, *step.short, *step.cut, *step.late)
            if c in step.late or single.plan.up_spec(c, federation.clients[c].tasks)
        ]
        single.round(t, step.cohort, step.private_fails, step.upload_fails, lost)
        sent = together.round(t, step)
        expected = {client: packet for (round, client), packet in single.packets.items() if round == t}
        assert sent.keys() == expected.keys(), f"round {t}"
        if exact:
            for client, packet in sent.items():
                other = expected[client]
                assert _but_loss(packet) == _but_loss(other), f"round {t}, client {client}"
                if packet:  # Local sends none
                    losses = (np.frombuffer(each, "<f4", 1, LOSS) for each in (packet, other))
                    np.testing.assert_allclose(*losses, rtol=1e-6, err_msg=f"round {t}, client {client}")
        assert sorted(together.sums) == clients
        for client in clients:
            for task, values in measured[client].items():
                np.testing.assert_allclose(
                    together.sums[client][task],
                    values,
                    rtol=1e-5 if exact else 2e-4,
                    atol=1e-6,
                    err_msg=f"{t} {client} {task}",
                )
    for one, other in zip(tree_leaves(together.server.state), tree_leaves(single.server), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6 if exact else 1e-4, atol=1e-6)


@pytest.mark.parametrize(("algorithm", "k"), [(each, k) for k, each in enumerate(SENDING)], ids=repr)
def test_every_algorithm(algorithm: Algorithm[Any, Any], k: int) -> None:
    """With a memory for each client, and other heads. All that can fail is below, for three ways to broadcast."""
    compare(algorithm, ErrorFeedback(TopK(0.3)), Loop(), MmapStateStore(np.array(EVERY)), exact=True, steps=few(k))


CODECS: list[Codec[Any]] = [Dense(), FP16(), Int8(block=8), TopK(0.2), ErrorFeedback(FP16())]
ALL_TOLD, EACH_TOLD, EACH_WEIGHED = FedPer(epochs=1), FedU(epochs=1, beta=1.0), FedAMP(epochs=1)


@pytest.mark.parametrize(
    ("algorithm", "codec"),
    [(ALL_TOLD, codec) for codec in CODECS]
    + [(EACH_TOLD, codec) for codec in (Int8(block=8), ErrorFeedback(FP16()))]
    + [(EACH_WEIGHED, codec) for codec in (Dense(), TopK(0.2))],
    ids=repr,
)
def test_every_codec(algorithm: Algorithm[Any, Any], codec: Codec[Any]) -> None:
    """One broadcast for all, with each codec; one for each client, where a codec sees a reference of the client's own,
    with what is exact, rounds blocks, leaves numbers out and remembers."""
    compare(algorithm, codec, Loop(), MmapStateStore(np.array(EVERY)), exact=True)


@pytest.mark.parametrize(
    ("algorithm", "steps"),
    [
        (FedPer(epochs=1), STEPS),
        (FedU(epochs=1), STEPS),
        (Ditto(epochs=1, personal_epochs=1), few(0)),
        (Scaffold(epochs=1), few(3)),
    ],
    ids=lambda value: f"{len(value)} rounds" if isinstance(value, tuple) else repr(value),
)
def test_stacked_clients(algorithm: Algorithm[Any, Any], steps: Sequence[Step]) -> None:
    """Engine "vmap" pads tasks and batches, and writes uploads where they are packed. All that can fail does with one
    broadcast for all and one for each; some of it with a whole private model, and with two records."""
    compare(algorithm, Dense(), VMap(), VersionedFileStore(MemoryBackend()), exact=False, steps=steps)
