"""Central algorithms: raw data goes to the server once, and the server trains on all of it."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedAvg, Pooled
from fedmtl.core.random import SERVER
from fedmtl.core.types import Batch
from fedmtl.data import ClientData, Federation, Split
from fedmtl.engines import Loop
from fedmtl.engines.base import Cohort, TaskPadding
from fedmtl.protocol.header import make_packet
from fedmtl.protocol.metrics_report import read_raw_data
from fedmtl.protocol.packets import DATA, PacketError
from fedmtl.protocol.requests import Reply
from tests.server.toy import DATA as TOY_DATA
from tests.server.toy import Toy, make_toy

ALL_TASKS = ("binary_1", "multiclass_0", "multilabel_3", "regression_2")


class Watching:
    """The loop engine, which keeps the cohorts that it is given."""

    def __init__(self) -> None:
        self.cohorts: list[Cohort] = []

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        self.cohorts += cohorts
        return Loop().map(cohorts, padding)

    def batches(self) -> list[Batch]:
        """Those of the last cohort's only client."""
        return [{key: value[0] for key, value in batch.items()} for batch in self.cohorts[-1].batches(np.array([0]))]


def pooled_toy(**changes: Any) -> Toy:
    return make_toy(**{"algorithm": Pooled(epochs=1), "batch_size": None, **changes})


def test_everybody_is_asked_for_data_in_the_first_round_only() -> None:
    toy = pooled_toy(cohort=2)
    for round in (1, 2, 3, 4):
        requests = toy.open(round)
        assert [request.client for request in requests] == [0, 1, 2, 3, 4]  # the cohort is of no account
        assert [request.raw_data for request in requests] == [round == 1] * 5
        assert not any(request.train for request in requests)
        toy.server.close_round(requests, [toy.client_pool.handle(requests, toy.store)])


def test_raw_data_comes_with_its_bits() -> None:
    toy = pooled_toy()
    toy.play(1)
    assert sorted(toy.server.placement.raw_data) == [0, 1, 2, 3, 4]
    for client, data in toy.client_pool.clients.items():
        got = read_raw_data(toy.plan, 1, toy.server.placement.raw_data[client])
        assert got.x.dtype == data.train.x.dtype and np.array_equal(got.x, data.train.x)
        assert sorted(got.y) == sorted(data.train.y)
        for task, labels in data.train.y.items():
            assert got.y[task].dtype == labels.dtype and np.array_equal(got.y[task], labels)


def test_the_server_trains_on_the_union_in_client_order_with_nan_for_what_nobody_said() -> None:
    """One batch of everything, put back in order by its index."""
    engine = Watching()
    toy = pooled_toy(engine=engine)
    toy.play(1)
    assert list(engine.cohorts[-1].clients) == [SERVER]
    (batch,) = engine.batches()
    assert bool((batch["mask"] == 1).all())
    order = torch.argsort(batch["index"])
    clients = toy.client_pool.clients
    assert np.array_equal(batch["x"][order].numpy(), np.concatenate([data.train.x for data in clients.values()]))
    for task in ALL_TASKS:
        shape = toy.plan.tasks[task].label_shape
        expected = [
            data.train.y.get(task, np.full((len(data.train.x), *shape), np.nan, np.float32))
            for data in clients.values()
        ]
        np.testing.assert_array_equal(batch[f"y.{task}"][order].numpy(), np.concatenate(expected))
        unknown = batch[f"y.{task}"].isnan()
        assert unknown.any() and not unknown.all()


def test_batches_are_shuffled_anew_in_each_round() -> None:
    engine = Watching()
    toy = pooled_toy(engine=engine)
    orders = []
    for round in (1, 2):
        toy.play(round)
        orders.append(tuple(engine.batches()[0]["index"].tolist()))
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(len(orders[0]))) and orders[0] != orders[1]


@pytest.mark.parametrize("batch_size", [None, 4])
def test_it_is_fedavg_with_one_client_that_owns_everything(batch_size: int | None) -> None:
    """The one client has the union. Its batches are shuffled by its own chance, so one batch holds everything.

    With batches of 4 the two take their steps in another order, and must differ: the comparison can fail.
    """
    toy = pooled_toy(batch_size=batch_size)
    parts = [data.train for data in toy.client_pool.clients.values()]
    labels = {}
    for task in ALL_TASKS:
        shape = toy.plan.tasks[task].label_shape
        blanks = [np.full((len(part.x), *shape), np.nan, np.float32) for part in parts]
        labels[task] = np.concatenate([part.y.get(task, blank) for part, blank in zip(parts, blanks, strict=True)])
    union = Split(np.concatenate([part.x for part in parts]), labels)
    federation = TOY_DATA.load(0)
    one = make_toy(
        Federation(federation.tasks, federation.input_shape, {9: ClientData(union, union)}),
        algorithm=FedAvg(epochs=1),
        batch_size=batch_size,
    )
    for round in (1, 2, 3):
        toy.play(round)
        one.play(round)
    assert toy.server.state.keys() == one.server.state.keys()
    far = max(float((toy.server.state[name] - one.server.state[name]).abs().max()) for name in one.server.state)
    moved = max(float((toy.server.state[name] - toy.plan.initial[name]).abs().max()) for name in one.server.state)
    if batch_size is None:
        assert far < 1e-6 < 1e-2 < moved  # sums over the same rows in another order
    else:
        assert far > 1e-4


def test_raw_data_is_in_the_ledger_once_and_under_its_own_name() -> None:
    toy = pooled_toy()
    sizes = {}
    for round in (1, 2, 3, 4):

        def see(replies: list[Reply]) -> list[Reply]:
            sizes.update({reply.client: len(reply.update) for reply in replies if reply.update})
            return replies

        toy.play(round, see)
    gathered = [t for t in toy.server.ledger.transfers if t.purpose == "raw_data"]
    assert [(t.round, t.client, t.direction, t.packet_bytes) for t in gathered] == [
        (1, client, "up", sizes[client]) for client in range(5)
    ]
    for client, data in toy.client_pool.clients.items():  # no smaller than what it holds
        held = data.train.x.nbytes + sum(labels.nbytes for labels in data.train.y.values())
        assert held + 32 < sizes[client] < held + 32 + 4 * 300  # and no more than a zip's headers for 3 arrays
    assert toy.server.ledger.total(purposes=("train",)) == 0
    assert {t.purpose for t in toy.server.ledger.transfers} == {"raw_data", "evaluate"}


def test_without_somebodys_data_there_is_no_round() -> None:
    toy = pooled_toy()
    with pytest.raises(
        RuntimeError, match=r"needs the data of all clients; none came from clients \[2\]: client 2: no reply"
    ):
        toy.play(1, lambda replies: [reply for reply in replies if reply.client != 2])


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_raw_data_is_noticed_and_its_client_named(damage: str) -> None:
    toy = pooled_toy()

    def spoil(reply: Reply) -> Reply:
        packet = reply.update
        changed = {"cut": packet[:-9], "flipped": packet[:-1] + bytes([packet[-1] ^ 1]), "empty": b""}
        return reply._replace(update=changed[damage]) if reply.client == 2 else reply

    with pytest.raises((RuntimeError, PacketError), match=r"client 2|\[2\]"):
        toy.play(1, lambda replies: [spoil(reply) for reply in replies])


def test_raw_data_that_could_run_code_is_refused() -> None:
    """A numpy file may hold pickles; a packet's may not."""
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{"a": 1}], dtype=object))
    toy = pooled_toy()
    packet = make_packet(DATA, toy.plan.digest, 1, 1.0, buffer.getvalue())
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_raw_data(toy.plan, 1, packet)


def test_divergence_at_the_server_is_an_error_that_says_what_to_do() -> None:
    toy = pooled_toy(algorithm=Pooled(lr=1e20, epochs=3))
    with pytest.raises(RuntimeError, match="Round 1: Pooled.* diverged; lower the learning rate"):
        toy.play(1)


def test_clients_predict_with_what_the_server_learnt() -> None:
    """After a round, the report of a client that owns multilabel_3 and regression_2 is that of the new parameters."""
    toy = pooled_toy()
    toy.play(1)
    outcome = toy.play(2)
    (part,) = [part for part in outcome.measurements if 2 in part.clients]
    got = part.sums["regression_2"][part.clients.tolist().index(2)]
    fresh = pooled_toy()
    fresh.play(1)
    p = {name: value.double().numpy() for name, value in fresh.server.state.items()}
    test, task = fresh.client_pool.clients[2].test, fresh.plan.tasks["regression_2"]
    h = np.maximum(0, test.x @ p["trunk.1.weight"].T + p["trunk.1.bias"])
    z = (h @ p["head.regression_2.weight"].T + p["head.regression_2.bias"])[:, 0]
    error = z - test.y["regression_2"] / task.std  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(got, [4, np.sum(error**2)], rtol=1e-5)
