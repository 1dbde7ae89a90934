"""The server's rounds: which clients get requests, what is counted, what is aggregated, and who is left out."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.algorithms import FedAvg, FedPer, FedRep, Local
from fedmtl.codecs import FP16, Dense, ErrorFeedback, Int8, TopK
from fedmtl.data import Federation
from fedmtl.engines import Loop, VMap
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.header import make_packet
from fedmtl.protocol.packets import UP
from fedmtl.protocol.requests import Reply, replies_of
from fedmtl.server.on_clients import OnClients
from fedmtl.server.round_result import RoundResult
from fedmtl.server.server import Server
from tests.server.toy import DATA, TRUNK_NUMBERS, Toy, make_toy, measured, read_down, read_up, rounds_of, toy_plan
from tests.single_packets import pack_payload

PACKET = 32 + 4 * TRUNK_NUMBERS
"""Bytes of a dense trunk: header and float32."""
REPORT = {0: 2 + 2, 1: 2 + 2, 2: 4 + 2, 3: 2 + 4, 4: 2 + 2}
"""Client -> numbers of its report: two sums a task, four for a multilabel task."""


def weighted(updates: list[tuple[dict[str, torch.Tensor], float]]) -> dict[str, np.ndarray]:
    """Σ n w / Σ n with numpy, in float64."""
    total = sum(n for _, n in updates)
    return {
        name: sum(n * w[name].double().numpy() for w, n in updates) / total  # pyright: ignore[reportReturnType]
        for name in updates[0][0]
    }


def mean_of(toy: Toy, round: int, replies: list[Reply], clients: set[int]) -> dict[str, np.ndarray]:
    """What the trunk should become, from the packets of some clients."""
    updates = []
    for request, reply in zip(toy.open(round), replies, strict=True):
        owned = toy.server.roster[request.client]
        if request.client in clients:
            down = read_down(toy.plan, round, request, owned)
            payload, n = read_up(toy.plan, round, reply, owned, down)
            updates.append((payload["trunk"], n))
    return weighted(updates)


# Requests


@pytest.mark.parametrize("cohort", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 3, 5, 99])
def test_a_sample_is_measured_and_the_cohort_trains(count: int, cohort: int) -> None:
    """The same clients each time, drawn apart from cohorts; more than there are means all."""
    toy, other = (make_toy(rounds=2, cohort=cohort, evaluate_every=2, evaluate_clients=count) for _ in range(2))
    sampled = toy.server.measured.tolist()
    assert sampled == sorted(set(sampled)) and len(sampled) == min(count, 5)
    for round in (1, 2, 3):
        requests = other.open(round)
        training = toy.cohort(round).tolist() if round <= 2 else []
        assert [request.client for request in requests if request.train] == training
        assert [request.client for request in requests if request.evaluate] == (sampled if round != 2 else [])
        asked = {*training, *(sampled if round != 2 else [])}
        assert [request.client for request in requests] == sorted(asked)
        outcome = toy.play(round)
        assert measured(outcome) == (sampled if round != 2 else [])
    purposes = Counter((t.purpose, t.direction) for t in toy.server.ledger)
    assert purposes["evaluate", "up"] == 2 * len(sampled)


def test_the_sample_follows_from_the_seed() -> None:
    samples = {tuple(make_toy(evaluate_clients=2, seed=seed).server.measured.tolist()) for seed in range(20)}
    again = make_toy(evaluate_clients=2, seed=7).server.measured.tolist()
    assert len(samples) > 3 and again == make_toy(evaluate_clients=2, seed=7, cohort=2).server.measured.tolist()


def test_every_round_measures_and_trains_and_one_more_only_measures() -> None:
    toy = make_toy(rounds=2, cohort=2)
    for round in (1, 2):
        requests = toy.open(round)
        assert [request.client for request in requests] == [0, 1, 2, 3, 4]
        assert all(request.evaluate and not request.raw_data for request in requests)
        assert [request.client for request in requests if request.train] == toy.cohort(round).tolist()
        assert len(toy.cohort(round)) == 2
    last = toy.open(3)
    assert [request.client for request in last] == [0, 1, 2, 3, 4]
    assert all(request.evaluate and not request.train for request in last)


@pytest.mark.parametrize(("every", "rounds"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (5, [0, 5]), (9, [0, 5])])
def test_evaluation_comes_each_so_many_rounds_and_first_and_last(every: int, rounds: list[int]) -> None:
    toy = make_toy(rounds=5, cohort=1, evaluate_every=every)
    found = []
    for round in range(1, 7):
        outcome = toy.play(round)
        found += sorted({part.round for part in outcome.measurements})
        assert measured(outcome) == (list(range(5)) if round - 1 in rounds else [])
    assert found == rounds


def test_without_evaluation_only_the_cohort_gets_requests() -> None:
    toy = make_toy(rounds=5, cohort=2, evaluate_every=5)
    toy.play(1)
    requests = toy.open(2)
    assert [request.client for request in requests] == toy.cohort(2).tolist()
    assert all(request.train and not request.evaluate for request in requests)


def test_equal_broadcasts_are_packed_once() -> None:
    """The bytes are there once, for clients of all four sets of tasks: they share one trunk."""
    requests = make_toy().open(1)
    assert len(requests) == 5 and len({make_toy().server.roster[client] for client in range(5)}) == 4
    assert requests.packets.data.size == PACKET and requests.packets.starts.tolist() == [0] * 5
    assert {request.packet for request in requests} == {requests.packets.data.tobytes()}


def test_the_first_broadcast_is_the_initial_trunk() -> None:
    toy = make_toy()
    for request in toy.open(1):
        got = read_down(toy.plan, 1, request, toy.server.roster[request.client])
        assert sorted(got) == ["trunk"] and sorted(got["trunk"]) == ["trunk.1.bias", "trunk.1.weight"]
        for name, value in got["trunk"].items():
            assert torch.equal(value, toy.plan.initial[name])


# What is counted


def test_the_ledger_of_two_rounds_written_out() -> None:
    toy = make_toy(rounds=2, cohort=2, metrics="primary")
    for round in (1, 2, 3):
        toy.play(round)
    expected = Counter()
    for round in (1, 2):
        for client in toy.cohort(round).tolist():
            expected[round, client, "down", "train", PACKET] += 1
            expected[round, client, "up", "train", PACKET] += 1
    for trained in (0, 1, 2):
        for client in range(5):
            # Who trains next on the model that it measures is sent it once, for training.
            if trained == 2 or client not in toy.cohort(trained + 1):
                expected[trained, client, "down", "evaluate", PACKET] += 1
            expected[trained, client, "up", "evaluate", 32 + 8 * REPORT[client]] += 1
    assert Counter(transfer[:5] for transfer in toy.server.ledger.transfers) == expected


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        (Dense(), 4 * TRUNK_NUMBERS),
        (FP16(), 2 * TRUNK_NUMBERS + ceil(TRUNK_NUMBERS / 256)),
        (Int8(block=8), TRUNK_NUMBERS + 4 * 4),  # 28 numbers are 4 blocks
        (TopK(0.25), 4 * 7 + 2 + 2),  # 7 numbers, 7·2 bits of low parts, 7 + 27//4 = 13 bits of high parts
        (ErrorFeedback(TopK(0.25)), 4 * 7 + 2 + 2),
    ],
    ids=repr,
)
def test_packets_are_a_header_and_what_the_codec_says(codec: Any, body: int) -> None:
    toy = make_toy(up_codec=codec)
    toy.play(1)
    assert {t.packet_bytes for t in toy.server.ledger.transfers if t.direction == "up" and t.purpose == "train"} == {
        32 + body
    }


def test_an_algorithm_that_says_nothing_costs_nothing() -> None:
    toy = make_toy(algorithm=Local(epochs=1))
    toy.play(1)
    outcome = toy.play(2)
    assert toy.server.ledger.total(purposes=("train",)) == 0 and toy.server.ledger.total("down") == 0
    assert outcome.trained.tolist() == [0, 1, 2, 3, 4] and not outcome.problems


# What is aggregated


@pytest.mark.parametrize("engine", [Loop(), VMap()], ids=["loop", "vmap"])
@pytest.mark.parametrize("algorithm", [FedPer(epochs=1), FedRep(head_epochs=1)], ids=repr)
@pytest.mark.parametrize("codec", [Dense(), FP16(), Int8(), ErrorFeedback(TopK(0.25))], ids=repr)
def test_the_trunk_becomes_the_mean_of_the_uploads_weighted_by_examples(
    engine: Any, algorithm: Any, codec: Any
) -> None:
    toy = make_toy(engine=engine, algorithm=algorithm, up_codec=codec)
    requests = toy.open(1)
    replies = list(toy.client_pool.handle(requests, toy.store))
    expected = mean_of(toy, 1, replies, set(range(5)))
    outcome = toy.server.close_round(requests, [replies_of(replies)])
    assert not outcome.problems and outcome.trained.tolist() == [0, 1, 2, 3, 4]
    assert len({len(data.train.x) for data in toy.client_pool.clients.values()}) > 1  # weights differ
    for name, value in expected.items():
        np.testing.assert_allclose(toy.server.state[name].numpy(), value, rtol=1e-6, atol=1e-7)


def test_a_head_that_nobody_in_the_cohort_owns_stays_as_it_was() -> None:
    """FedAvg with client 2 alone: it owns multilabel_3 and regression_2."""
    toy = make_toy(algorithm=FedAvg(epochs=1), cohort=1)
    round = next(t for t in range(1, 100) if toy.cohort(t).tolist() == [2])
    toy.play(round)
    moved = {name for name, value in toy.server.state.items() if not torch.equal(value, toy.plan.initial[name])}
    assert moved == {name for name in toy.plan.initial if not name.startswith(("head.multiclass_0.", "head.binary_1."))}


def test_the_order_of_replies_does_not_matter() -> None:
    states = []
    for order in (list, lambda replies: replies[::-1], lambda replies: replies[2:] + replies[:2]):
        toy = make_toy(up_codec=Int8())
        for round in (1, 2):
            toy.play(round, order)
        states.append((toy.server.state, toy.server.ledger.transfers))
    for state, transfers in states[1:]:
        assert all(torch.equal(state[name], states[0][0][name]) for name in state)
        assert transfers == states[0][1]


# Who is left out


def without(client: int) -> Callable[[list[Reply]], list[Reply]]:
    return lambda replies: [reply for reply in replies if reply.client != client]


def changed(client: int, change: Callable[[Reply], Reply]) -> Callable[[list[Reply]], list[Reply]]:
    return lambda replies: [change(reply) if reply.client == client else reply for reply in replies]


def flip(reply: Reply) -> Reply:
    return reply._replace(update=reply.update[:-1] + bytes([reply.update[-1] ^ 1]))


def not_a_number(reply: Reply) -> Reply:
    """A packet with a good checksum from a client that has no scruples."""
    digest = toy_plan().up_spec(2, ("multilabel_3", "regression_2")).digest(Dense())
    return reply._replace(update=make_packet(UP, digest, 1, 4.0, np.full(TRUNK_NUMBERS, np.nan, "<f4").tobytes()))


BAD = {
    "missing": (without(2), "no reply"),
    "cut": (changed(2, lambda reply: reply._replace(update=reply.update[:50])), "truncated"),
    "empty": (changed(2, lambda reply: reply._replace(update=b"")), "at least 32 bytes, got 0"),
    "flipped": (changed(2, flip), "checksum"),
    "NaN": (changed(2, not_a_number), "finite"),
    "its own word": (
        changed(2, lambda reply: reply._replace(update=b"", problem="its update is not finite")),
        "not finite",
    ),
    "report for update": (changed(2, lambda reply: reply._replace(update=reply.report)), "Expected a.* upload"),
}
"""How client 2's reply can be bad -> the tampering, and what is said of it."""


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_reply_leaves_its_client_out_and_names_it(bad: str, caplog: pytest.LogCaptureFixture) -> None:
    tamper, reason = BAD[bad]
    toy = make_toy()
    requests = toy.open(1)
    replies = list(toy.client_pool.handle(requests, toy.store))
    expected = mean_of(toy, 1, replies, {0, 1, 3, 4})
    with caplog.at_level(logging.WARNING, logger="fedmtl"):
        outcome = toy.server.close_round(requests, [replies_of(tamper(replies))])
    assert list(outcome.problems) == [2]
    assert outcome.trained.tolist() == [0, 1, 3, 4]
    assert [record.getMessage() for record in caplog.records] == [f"round 1: client 2 left out: {outcome.problems[2]}"]
    assert re.search(reason, outcome.problems[2])
    for name, value in expected.items():
        np.testing.assert_allclose(toy.server.state[name].numpy(), value, rtol=1e-6, atol=1e-7)
    assert not toy.play(2).problems  # and the run goes on


def test_bytes_that_came_are_counted_even_if_they_are_of_no_use() -> None:
    toy = make_toy()
    toy.play(1, changed(2, lambda reply: reply._replace(update=reply.update[:50])))
    up = {t.client: t.packet_bytes for t in toy.server.ledger.transfers if (t.direction, t.purpose) == ("up", "train")}
    assert up == {0: PACKET, 1: PACKET, 2: 50, 3: PACKET, 4: PACKET}


def test_a_client_that_never_answers_is_counted_on_the_way_down_only() -> None:
    toy = make_toy()
    toy.play(1, without(2))
    seen = {(t.direction, t.purpose) for t in toy.server.ledger.transfers if t.client == 2}
    assert seen == {("down", "train")}


def test_an_old_reply_is_no_reply() -> None:
    toy = make_toy()
    kept: list[Reply] = []

    def keep(replies: list[Reply]) -> list[Reply]:
        kept.extend(replies)
        return replies

    toy.play(1, keep)
    outcome = toy.play(2, lambda replies: [kept[0], *replies[1:]])
    assert "of round 2, got one of round 1" in outcome.problems[0]
    assert measured(outcome) == [1, 2, 3, 4]


@pytest.mark.parametrize("apart", [False, True], ids=["one node", "two nodes"])
def test_of_two_replies_of_one_client_one_counts(apart: bool) -> None:
    """Client 1 replies twice, the second time with another update of its own: the mean is over each client once, and
    the ledger has one packet of it."""
    toy = make_toy()
    replies = list(toy.client_pool.handle(toy.open(1), toy.store))
    request = toy.open(1)[1]
    owned = toy.server.roster[1]
    down = read_down(toy.plan, 1, request, owned)
    payload, n = read_up(toy.plan, 1, replies[1], owned, down)
    changed = {record: {name: value + 1 for name, value in params.items()} for record, params in payload.items()}
    link = toy.plan.uplink(1, owned)
    draw = np.random.default_rng(0)
    packet, _ = pack_payload(changed, link, link.init(), draw, kind=UP, round=1, num_examples=n, reference=down)
    second = replies[1]._replace(update=packet)
    nodes = [replies_of(replies), replies_of([second])] if apart else [replies_of([*replies, second])]
    toy = make_toy()
    requests = toy.open(1)
    outcome = toy.server.close_round(requests, nodes)
    assert outcome.trained.tolist() == [0, 1, 2, 3, 4]
    expected = [
        mean_of(make_toy(), 1, [replies[0], one, *replies[2:]], {0, 1, 2, 3, 4}) for one in (replies[1], second)
    ]
    found = {name: value.numpy() for name, value in toy.server.state.items()}
    assert any(all(np.allclose(found[name], each[name], atol=1e-6) for name in found) for each in expected)
    lines = [line for line in toy.server.ledger if line.client == 1 and line.direction == "up"]
    assert Counter(line.purpose for line in lines) == {"train": 1, "evaluate": 1}


def test_replies_of_clients_that_were_not_asked_are_not_used() -> None:
    toy, plain = make_toy(cohort=2), make_toy(cohort=2)
    stranger = Reply(77, b"", b"nonsense", 1.0, "")

    def tamper(replies: list[Reply]) -> list[Reply]:
        update = next(reply.update for reply in replies if reply.update)
        return [reply if reply.update else reply._replace(update=update) for reply in replies] + [stranger]

    outcome = toy.play(1, tamper)
    plain.play(1)
    assert outcome.trained.tolist() == toy.cohort(1).tolist() and not outcome.problems
    assert all(torch.equal(toy.server.state[name], plain.server.state[name]) for name in plain.server.state)
    assert toy.server.ledger.transfers == plain.server.ledger.transfers


@pytest.mark.parametrize("report", [b"", b"x" * 64, None], ids=["none", "noise", "another client's"])
def test_a_bad_report_costs_its_measurement_only(report: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    """Client 1's report is shorter than client 2's, so it cannot be taken for it."""
    toy = make_toy()

    def tamper(replies: list[Reply]) -> list[Reply]:
        return [
            r._replace(report=replies[1].report if report is None else report) if r.client == 2 else r for r in replies
        ]

    outcome = toy.play(1, tamper)
    assert measured(outcome) == [0, 1, 3, 4]
    assert outcome.trained.tolist() == [0, 1, 2, 3, 4] and not outcome.problems
    assert ("report of client 2 left out" in caplog.text) == (report != b"")


@pytest.mark.parametrize("bad", ["missing", "cut", "NaN", "its own word"])
def test_a_round_without_any_good_update_is_an_error_that_says_why(bad: str) -> None:
    spoil: dict[str, Callable[[Reply], list[Reply]]] = {
        "missing": lambda reply: [],
        "cut": lambda reply: [reply._replace(update=reply.update[:50])],
        "NaN": lambda reply: [not_a_number(reply)],
        "its own word": lambda reply: [reply._replace(update=b"", problem="its update is not finite")],
    }
    toy = make_toy(rounds=9)
    toy.play(1)
    before = {name: value.clone() for name, value in toy.server.state.items()}
    with pytest.raises(RuntimeError) as error:
        toy.play(2, lambda replies: [new for reply in replies for new in spoil[bad](reply)])
    message = str(error.value)
    assert "No client of round 2 sent an update that could be used" in message
    assert "client 0: " in message and "client 1: " in message and "and 2 more" in message
    assert "lower the learning rate" in message and "look at the nodes" in message
    assert all(torch.equal(toy.server.state[name], value) for name, value in before.items())
    assert not toy.play(3).problems


def test_one_good_update_is_enough() -> None:
    toy = make_toy()
    outcome: RoundResult = toy.play(1, lambda replies: replies[3:4])
    assert outcome.trained.tolist() == [3] and sorted(outcome.problems) == [0, 1, 2, 4]


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roster": {}}, "at least one client, got an empty roster; is any node connected"),
        ({"cohort": 6}, "at most the federation's 5, got cohort=6"),
        ({"cohort": 0.0}, "got cohort=0.0"),
    ],
)
def test_refuses_what_is_no_federation(change: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"roster": make_toy().client_pool.roster, "cohort": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        Server(toy_plan(), values["roster"], **rounds_of(5, values["cohort"], 1), placement=OnClients())


def test_a_client_with_a_task_that_the_plan_does_not_know_is_refused() -> None:
    server = Server(toy_plan(), {0: ("sailing",)}, **rounds_of(1, 1, 1), placement=OnClients())
    with pytest.raises(ValueError, match="one or more of the tasks .* got .'sailing'."):
        server.open_round(Exchange(1, 0, train=True))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_everybody_is_sent_the_heads_of_its_own_tasks(order: list[int]) -> None:
    """Also where no two clients own the same tasks, and the order of clients is not that of their tasks' names."""
    whole = DATA.load(0)
    federation = Federation(whole.tasks, whole.input_shape, {k: whole.clients[c] for k, c in enumerate(order)})
    toy = make_toy(federation, algorithm=FedAvg(epochs=1))
    for round in (1, 2):
        for request in toy.open(round):
            owned = toy.server.roster[request.client]
            got = read_down(toy.plan, round, request, owned)["model"]
            assert {name.split(".")[1] for name in got if name.startswith("head.")} == set(owned)
        toy.play(round)
