"""A node's clients: what they answer, what they keep, and what they refuse."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedmtl.algorithms import FedAvg, FedPer, FedRep, Local
from fedmtl.client.client_pool import ClientPool
from fedmtl.client.state.files import MemoryBackend, VersionedFileStore
from fedmtl.codecs import FP16, Dense, ErrorFeedback, Int8, TopK
from fedmtl.codecs.traits import CodecTraits
from fedmtl.core.trees import sha256
from fedmtl.data import ClientData, Federation, Split
from fedmtl.engines import Loop, VMap
from fedmtl.models import MLP
from fedmtl.protocol.packets import PacketError
from fedmtl.protocol.requests import Request
from fedmtl.tasks.regression import Regression
from tests.server.toy import DATA, TRUNK_NUMBERS, Toy, make_toy, measured, read_down, read_up, requested, toy_plan

ENGINES = pytest.mark.parametrize("engine", [Loop(), VMap(chunk=2)], ids=["loop", "vmap"])


def requests(toy: Toy, round: int = 1) -> list[Request]:
    return list(toy.open(round))


def stored(toy: Toy, client: int, version: int) -> Any:
    """What the client starts from when it is sent a version of the model."""
    client_pool = toy.client_pool
    owned = client_pool.clients[client].tasks
    template = {
        "private": client_pool.plan.init_client(owned, len(client_pool.clients[client].train.x)),
        "codec": client_pool.plan.uplink(client, owned).init(),
    }
    return toy.store.load(client, version, lambda: template)


# Replies


def test_the_roster_says_who_owns_what() -> None:
    assert make_toy().client_pool.roster == {
        0: ("binary_1", "multiclass_0"),
        1: ("binary_1", "regression_2"),
        2: ("multilabel_3", "regression_2"),
        3: ("multiclass_0", "multilabel_3"),
        4: ("binary_1", "multiclass_0"),
    }


def test_replies_come_in_the_order_of_the_requests_and_hold_what_was_asked() -> None:
    toy = make_toy()
    packet = requests(toy)[0].packet
    asked = [
        Request(4, packet, evaluate=True, train=True, raw_data=False),
        Request(1, packet, evaluate=False, train=True, raw_data=False),
        Request(3, packet, evaluate=True, train=False, raw_data=False),
        Request(0, b"", evaluate=False, train=False, raw_data=False),
        Request(2, b"", evaluate=False, train=False, raw_data=True),
    ]
    replies = toy.client_pool.handle(requested(1, asked), toy.store)
    assert [reply.client for reply in replies] == [4, 1, 3, 0, 2]
    assert [bool(reply.report) for reply in replies] == [True, False, True, False, False]
    assert [bool(reply.update) for reply in replies] == [True, True, False, False, True]
    assert [reply.seconds > 0 for reply in replies] == [True, True, False, False, False]
    assert not any(reply.problem for reply in replies)
    assert list(toy.client_pool.handle(requested(1, []), toy.store)) == []


def test_replies_do_not_depend_on_the_other_requests() -> None:
    toy = make_toy(up_codec=Int8())
    together = toy.client_pool.handle(requested(1, requests(toy)), VersionedFileStore(MemoryBackend()))
    for request, reply in zip(requests(toy), together, strict=True):
        (alone,) = toy.client_pool.handle(requested(1, [request]), VersionedFileStore(MemoryBackend()))
        assert (alone.report, alone.update) == (reply.report, reply.update)


def test_a_report_holds_the_sums_of_the_clients_tasks() -> None:
    """Computed here with numpy from the initial parameters: h = max(0, x Wᵀ + b), z = h Vᵀ + c.

    Client 1 owns binary_1 ([n, right ones]) and regression_2 ([n, Σ (z − y/σ)²], σ of the data set's own).
    """
    toy = make_toy()
    reply = toy.client_pool.handle(requested(1, requests(toy)), toy.store)[1]
    test, p = toy.client_pool.clients[1].test, {name: value.numpy() for name, value in toy.plan.initial.items()}
    h = np.maximum(0, test.x @ p["trunk.1.weight"].T + p["trunk.1.bias"])
    z = {task: (h @ p[f"head.{task}.weight"].T + p[f"head.{task}.bias"])[:, 0] for task in test.y}
    sigma = toy.plan.tasks["regression_2"]
    assert isinstance(sigma, Regression) and sigma.mean == 0
    right = np.sum((z["binary_1"] > 0) == (test.y["binary_1"] > 0.5))
    squares = np.sum((z["regression_2"] - test.y["regression_2"] / sigma.std) ** 2)
    n, got_right, m, got_squares = struct.unpack("<4d", reply.report[32:])
    assert (n, got_right, m) == (4, right, 4)
    assert got_squares == pytest.approx(squares, rel=1e-5)


@ENGINES
def test_local_training_is_gradient_descent_written_out(engine: Any) -> None:
    """One full batch, one epoch, the regression task alone: with e = z − y/σ and n examples,

    ∂loss/∂z = 2 e / n,  V' = V − η hᵀ∂z,  W' = W − η (∂z V ⊙ [h > 0])ᵀ x.
    """
    whole = DATA.load(0)
    task = whole.tasks["regression_2"]
    split = whole.clients[1].train
    only = Split(split.x, {"regression_2": split.y["regression_2"]})
    federation = Federation({"regression_2": task}, whole.input_shape, {1: ClientData(only, only)})
    toy = make_toy(federation, engine=engine, batch_size=None, algorithm=FedPer(lr=0.1, epochs=1))
    (request,) = requests(toy)
    (reply,) = toy.client_pool.handle(requested(1, [request]), toy.store)

    p = {name: value.numpy().astype(np.float64) for name, value in toy.plan.initial.items()}
    W, b = p["trunk.1.weight"], p["trunk.1.bias"]
    V, c = p["head.regression_2.weight"], p["head.regression_2.bias"]
    assert isinstance(task, Regression)
    x, y = split.x.astype(np.float64), split.y["regression_2"] / task.std
    h = np.maximum(0, x @ W.T + b)
    dz = 2 * ((h @ V.T + c)[:, 0] - y)[:, None] / len(x)
    da = dz @ V * (h > 0)

    down = read_down(toy.plan, 1, request, ("regression_2",))
    up, examples = read_up(toy.plan, 1, reply, ("regression_2",), down)
    assert examples == len(x)
    np.testing.assert_allclose(up["trunk"]["trunk.1.weight"].numpy(), W - 0.1 * da.T @ x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(up["trunk"]["trunk.1.bias"].numpy(), b - 0.1 * da.sum(0), rtol=1e-4, atol=1e-6)
    head = stored(toy, 1, 1)["private"]
    np.testing.assert_allclose(head["head.regression_2.weight"].numpy(), V - 0.1 * dz.T @ h, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head["head.regression_2.bias"].numpy(), c - 0.1 * dz.sum(0), rtol=1e-4, atol=1e-6)


def test_a_client_without_test_examples_reports_nothing() -> None:
    whole = DATA.load(0)
    data = whole.clients[1]
    empty = Split(data.test.x[:0], {task: labels[:0] for task, labels in data.test.y.items()})
    toy = make_toy(Federation(whole.tasks, whole.input_shape, {**whole.clients, 1: ClientData(data.train, empty)}))
    outcome = toy.play(1)
    assert measured(outcome) == [0, 2, 3, 4]
    assert outcome.trained.tolist() == [0, 1, 2, 3, 4] and not outcome.problems


@pytest.mark.parametrize("algorithm", [FedPer(epochs=1), FedAvg(epochs=1)], ids=repr)
@pytest.mark.parametrize("codec", [Dense(), FP16(), Int8(), ErrorFeedback(TopK(0.25))], ids=repr)
def test_uploads_added_up_on_the_node_are_those_that_the_server_would_add(algorithm: Any, codec: Any) -> None:
    """One client is left out. Equal ledger, equal problems, equal private states, and the same mean to rounding."""
    toys = [make_toy(algorithm=algorithm, up_codec=codec) for _ in range(2)]
    for round in (1, 2):
        outcomes = []
        for toy, add in zip(toys, (False, True), strict=True):
            sick = ClientPool(toy.client_pool.plan, poisoned(2), Loop())
            asked = toy.open(round)
            replies = sick.handle(requested(round, asked), toy.store, add)
            assert bool(replies.totals) == add and (replies.updates.data.size == 0) == add
            outcomes.append(toy.server.close_round(asked, [replies]))
        each, added = outcomes
        assert each.trained.tolist() == added.trained.tolist() == [0, 1, 3, 4]
        assert each.problems == added.problems == {2: "its update is not finite"}
    plain, added = toys
    assert plain.server.ledger.transfers == added.server.ledger.transfers
    for name, value in plain.server.state.items():
        torch.testing.assert_close(added.server.state[name], value, rtol=1e-6, atol=1e-7)
    for client in (0, 1, 3, 4):
        torch.testing.assert_close(stored(added, client, 2)["private"], stored(plain, client, 2)["private"])


# Private state


@ENGINES
@pytest.mark.parametrize(
    ("algorithm", "codec"),
    [
        (FedPer(epochs=1), Dense()),
        (FedPer(epochs=1), Int8(block=8)),
        (FedRep(head_epochs=1), ErrorFeedback(TopK(0.25))),
        (Local(epochs=1), Dense()),
    ],
    ids=repr,
)
def test_a_round_that_is_run_again_gives_the_same_bytes(engine: Any, algorithm: Any, codec: Any) -> None:
    """A message came twice, or the server was restored: the node must not train on from what it has since learnt."""
    toy = make_toy(engine=engine, algorithm=algorithm, up_codec=codec)
    toy.play(1)
    asked = requests(toy, 2)
    first, second = (toy.client_pool.handle(requested(2, asked), toy.store) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.report, one.update) == (other.report, other.update)
        assert one.report and (one.update or isinstance(algorithm, Local))
    assert sha256(stored(toy, 0, 2)) != sha256(stored(toy, 0, 1))  # and yet it learnt


def test_a_restarted_node_goes_on_from_its_store() -> None:
    same: dict[str, Any] = {"algorithm": FedRep(head_epochs=1), "up_codec": ErrorFeedback(TopK(0.25))}
    toy = make_toy(**same)
    toy.play(1)
    asked = requests(toy, 2)
    restarted = ClientPool(toy_plan(**same), toy.client_pool.clients, Loop())
    for one, other in zip(
        restarted.handle(requested(2, asked), toy.store),
        toy.client_pool.handle(requested(2, asked), toy.store),
        strict=True,
    ):
        assert (one.report, one.update) == (other.report, other.update)


def test_heads_are_learnt_kept_and_used() -> None:
    toy = make_toy()
    toy.play(1)
    owned = toy.client_pool.clients[0].tasks
    names = sorted(f"head.{task}.{part}" for task in owned for part in ("weight", "bias"))
    one = stored(toy, 0, 1)["private"]
    assert sorted(one) == names
    assert all(not torch.equal(one[name], toy.plan.initial[name]) for name in names)
    toy.play(2)
    assert all(not torch.equal(stored(toy, 0, 2)["private"][name], one[name]) for name in names)


def poisoned(client: int) -> dict[int, ClientData]:
    """The toy's data, with one client's inputs at 1e30: finite, but the squared errors of its regression are not."""
    clients = dict(DATA.load(0).clients)
    train, test = clients[client]
    clients[client] = ClientData(Split(train.x * np.float32(1e30), train.y), test)
    return clients


@ENGINES
def test_a_client_whose_update_is_not_finite_sends_none_and_keeps_its_last_good_state(engine: Any) -> None:
    toy = make_toy(engine=engine)
    toy.play(1)
    good = {client: stored(toy, client, 1) for client in toy.client_pool.clients}
    asked = requests(toy, 2)
    sick = ClientPool(toy.client_pool.plan, poisoned(2), engine)
    replies = sick.handle(requested(2, asked), toy.store)

    assert [reply.problem for reply in replies] == ["", "", "its update is not finite", "", ""]
    assert replies[2].update == b"" and replies[2].report != b""
    for client in (0, 1, 3, 4):
        assert len(replies[client].update) == 32 + 4 * TRUNK_NUMBERS
    for name, value in good[2]["private"].items():
        assert torch.equal(stored(toy, 2, 2)["private"][name], value)
        assert torch.isfinite(value).all()
    trained = stored(toy, 1, 2)["private"]["head.regression_2.weight"]
    assert not torch.equal(trained, good[1]["private"]["head.regression_2.weight"])

    third = toy.client_pool.handle(requested(3, requests(toy, 3)), toy.store)  # the next request starts from there
    assert third[2].problem == "" and third[2].update


@ENGINES
@pytest.mark.parametrize("codec", [Dense(), Int8(), ErrorFeedback(TopK(0.25))], ids=repr)
def test_one_client_that_diverges_does_not_touch_the_others(engine: Any, codec: Any) -> None:
    toy = make_toy(engine=engine, up_codec=codec)
    asked = requests(toy)
    healthy = toy.client_pool.handle(requested(1, asked), VersionedFileStore(MemoryBackend()))
    sick = ClientPool(toy.client_pool.plan, poisoned(2), engine).handle(
        requested(1, asked), VersionedFileStore(MemoryBackend())
    )
    assert sick[2].problem and sick[2].update == b""
    for client in (0, 1, 3, 4):
        assert (sick[client].report, sick[client].update) == (healthy[client].report, healthy[client].update)


@ENGINES
def test_a_private_part_that_is_not_finite_is_not_kept_although_the_upload_is(engine: Any) -> None:
    """Local uploads nothing, which is always finite; its diverged model must not replace the good one."""
    toy = make_toy(engine=engine, algorithm=Local(epochs=1))
    toy.play(1)
    good = sha256(stored(toy, 2, 1))
    replies = ClientPool(toy.client_pool.plan, poisoned(2), engine).handle(requested(2, requests(toy, 2)), toy.store)
    assert [reply.problem for reply in replies] == ["", "", "its update is not finite", "", ""]
    assert sha256(stored(toy, 2, 2)) == good


@dataclass(frozen=True)
class Narrow:
    """Dense up to 65504, as a plain cast to binary16 would be."""

    traits = CodecTraits(unbiased=True, codes_rows=True)

    def init(self, size: int) -> None:
        return None

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        return self.encode_rows(x[None], None, lambda _: rng)[0].tobytes(), None

    def encode_rows(self, x: NDArray[np.float32], states: None, rng_for: Any) -> tuple[NDArray[np.uint8], None]:
        if np.abs(x).max() > 65504:
            raise ValueError(f"{self!r} holds numbers up to 65504, got {np.abs(x).max()}.")
        return Dense().encode_rows(x, states, rng_for)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return Dense().decode(data, size)

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        return Dense().decode_rows(data, size)


def test_an_update_that_the_codec_cannot_hold_is_the_problem_of_its_client_alone() -> None:
    """A client at 1e6 is finite and beyond the codec: as lost as one that is not finite, and no reason to lose the
    round of all others on the node."""
    clients = dict(DATA.load(0).clients)
    train, test = clients[2]
    clients[2] = ClientData(Split(train.x * np.float32(1e4), train.y), test)
    toy = make_toy(up_codec=Narrow())
    asked = requests(toy)
    dense = ClientPool(toy_plan(), clients, Loop())
    update = dense.handle(make_toy().open(1), VersionedFileStore(MemoryBackend()))[2].update
    change = np.frombuffer(update[32:], "<f4") - np.concatenate(
        [toy.plan.initial[name].flatten().numpy() for name in ("trunk.1.bias", "trunk.1.weight")]
    )
    assert 65504 < np.abs(change).max() < np.inf

    replies = ClientPool(toy.client_pool.plan, clients, Loop()).handle(requested(1, asked), toy.store)
    assert [bool(reply.problem) for reply in replies] == [False, False, True, False, False]
    # The codec's own text, which may say anything of the numbers, stays on the node.
    assert replies[2].problem.startswith("its update cannot be coded") and "65504" not in replies[2].problem
    assert replies[2].update == b""
    assert all(replies[client].update for client in (0, 1, 3, 4))
    for name, value in stored(toy, 2, 1)["private"].items():
        assert torch.equal(value, toy.plan.initial[name])


# Refusals


def test_a_client_that_does_not_live_here_is_named_and_nobody_is_trained() -> None:
    toy = make_toy()
    packet = requests(toy)[0].packet
    asked = [Request(0, packet, False, True, False), Request(17, packet, False, True, False)]
    with pytest.raises(KeyError, match=r"Client 17 does not live on this node, which hosts \[0, 1, 2, 3, 4\]"):
        toy.client_pool.handle(requested(1, asked), toy.store)
    assert toy.store.load(0, 9, lambda: None) is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other round"])
def test_a_damaged_broadcast_is_refused_and_nobody_is_trained(damage: str) -> None:
    toy = make_toy()
    asked = requests(toy)
    packet = asked[2].packet
    damaged = {
        "cut": packet[:-1],
        "flipped": packet[:-1] + bytes([packet[-1] ^ 1]),
        "empty": b"",
        "other round": requests(make_toy(), 3)[2].packet,
    }[damage]
    asked[2] = asked[2]._replace(packet=damaged)
    with pytest.raises(PacketError, match="broadcast"):
        toy.client_pool.handle(requested(1, asked), toy.store)
    assert all(toy.store.load(client, 9, lambda: None) is None for client in toy.client_pool.clients)


@pytest.mark.parametrize("change", [{"down_codec": FP16()}, {"model": MLP((5,))}, {"algorithm": FedAvg()}], ids=repr)
def test_a_broadcast_of_another_experiment_is_refused(change: dict[str, Any]) -> None:
    toy = make_toy()
    with pytest.raises(PacketError, match="give both sides the same experiment"):
        toy.client_pool.handle(requested(1, requests(make_toy(**change))), toy.store)
