"""All metrics through a round: both engines give scikit-learn's numbers, and forged counts are left out."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.func import functional_call

from fedmtl.algorithms import FedAvg, FedEM
from fedmtl.client.client_pool import ClientPool
from fedmtl.engines import Loop, VMap
from fedmtl.metrics import Tally
from fedmtl.protocol.header import make_packet, read_packet
from fedmtl.protocol.metrics_report import read_full_reports, report_packets
from fedmtl.protocol.packets import REPORT, concat
from fedmtl.protocol.requests import Reply, replies_of
from fedmtl.server.on_clients import OnClients
from fedmtl.server.round_result import ClientMetrics
from fedmtl.server.server import Server
from tests.metrics.cases import by_scikit
from tests.server.toy import Toy, make_toy, rounds_of, toy_plan
from tests.toys import mixed

MIXED = mixed(clients=9, test_examples=300, features=6, noise=0.5, ragged=True)
"""Test parts of one piece and of two."""


def played(engine: Any, algorithm: Any = None) -> Toy:
    federation = MIXED.load(0)
    plan = toy_plan(federation, algorithm=algorithm or FedAvg(epochs=1), metrics="all")
    server = Server(
        plan,
        federation.schema.owners,
        **rounds_of(len(federation.clients), 1.0, 1, metrics="all"),
        placement=OnClients(),
        examples=federation.sizes,
    )
    return Toy(server, ClientPool(plan, federation.clients, engine, 1))


def outputs(toy: Toy, client: int, task: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """What the first model says of a client's test examples, and the labels: torch's own call, no engine."""
    test = MIXED.load(0).clients[client].test
    with torch.no_grad():
        found = functional_call(toy.plan.module, dict(toy.plan.initial), (torch.from_numpy(np.array(test.x)),))
    return found[task].numpy(), np.array(test.y[task])


def agree(found: dict[str, float], wanted: dict[str, float]) -> None:
    for name, value in wanted.items():
        error = np.nan_to_num(found.get(f"{name}_error", 0.0))
        assert np.isnan(found[name]) == np.isnan(value), name
        assert np.isnan(value) or abs(found[name] - value) <= error + 1e-5 * max(1.0, abs(value)), name


@pytest.mark.parametrize("engine", [Loop(), VMap(chunk=4)], ids=["loop", "vmap"])
def test_both_engines_measure_what_scikit_learn_does(engine: Any) -> None:
    toy = played(engine)
    measurements = toy.play(1).measurements
    for task, kind in toy.plan.kinds.items():
        parts = [(m, m.tallies[task], m.sums[task]) for m in measurements if task in m.tallies]
        all_outputs = []
        for measured, tally, sums in parts:
            each = kind.metrics(sums, tally)
            for k, client in enumerate(measured.clients.tolist()):
                all_outputs.append(outputs(toy, client, task))
                agree(
                    {name: float(values[k]) for name, values in each.items()},
                    by_scikit(toy.plan.tasks[task], *all_outputs[-1]),
                )
        assert len(all_outputs) >= 4
        total = np.sum([sums.sum(0) for _, _, sums in parts], axis=0, keepdims=True)
        merged = together([tally for _, tally, _ in parts])
        whole = {name: float(values[0]) for name, values in kind.metrics(total, merged).items()}
        output, y = (np.concatenate(column) for column in zip(*all_outputs, strict=True))
        agree(whole, by_scikit(toy.plan.tasks[task], output, y))


def together(tallies: list[Tally]) -> Tally:
    from fedmtl.metrics.tally import joined as end_to_end

    return end_to_end(tallies).total()


def test_mixtures_are_measured_by_their_mixed_outputs() -> None:
    """Counts add up to the examples, and the confusion's diagonal to the right ones of the primary metric."""
    toy = played(VMap(chunk=4), FedEM(components=2, epochs=1))
    for measured in toy.play(1).measurements:
        for task, tally in measured.tallies.items():
            assert toy.plan.kinds[task].possible(measured.sums[task], tally).all()


def test_the_primary_metric_has_the_same_bits_whether_others_are_measured_or_not() -> None:
    found: list[list[ClientMetrics]] = []
    for metrics in ("primary", "all"):
        toy = make_toy(metrics=metrics)
        found.append(toy.play(1).measurements)
    for one, other in zip(*found, strict=True):
        assert not one.tallies and other.tallies
        for task in one.sums:
            np.testing.assert_array_equal(one.sums[task], other.sums[task])


# Forged


def forged(toy: Toy, client: int, change: Callable[[dict[str, Tally]], dict[str, Tally]]) -> Any:
    """A client's report with other statistics, sealed as honest ones are."""

    def tamper(replies: list[Reply]) -> Iterable[Reply]:
        for reply in replies:
            if reply.client == client:
                owned = toy.server.roster[client]
                packets = concat([reply.report])
                _, sums, tallies = read_full_reports(toy.plan, 1, owned, packets, lambda k, error: None)
                made = {task: torch.from_numpy(values) for task, values in sums.items()}
                reply = reply._replace(report=report_packets(toy.plan, 1, owned, made, change(tallies))[0])
            yield reply

    return tamper


def more(tallies: dict[str, Tally]) -> dict[str, Tally]:
    """A cell that counts one more."""
    return {
        task: tally._replace(counts=tally.counts + (np.arange(len(tally.counts)) == 0))
        for task, tally in tallies.items()
    }


def other_numbers(value: float) -> Callable[[dict[str, Tally]], dict[str, Tally]]:
    return lambda tallies: {
        task: tally._replace(numbers=np.full_like(tally.numbers, value)) for task, tally in tallies.items()
    }


@pytest.mark.parametrize(
    "change",
    [more, other_numbers(-1.0), other_numbers(np.nan), other_numbers(np.inf)],
    ids=["more", "-1", "nan", "inf"],
)
def test_statistics_that_no_outputs_have_are_left_out_and_counted(change: Any) -> None:
    toy = make_toy(metrics="all")
    outcome = toy.play(1, forged(toy, 2, change))
    clients = np.sort(np.concatenate([measured.clients for measured in outcome.measurements]))
    assert clients.tolist() == [0, 1, 3, 4] and outcome.rejected == {"metrics": 1}


@pytest.mark.parametrize(
    "body", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:8], lambda b: b[:-4] + b"\xff" * 4]
)
def test_bytes_that_are_no_counts_are_left_out_and_counted(body: Callable[[bytes], bytes]) -> None:
    toy = make_toy(metrics="all")

    def tamper(replies: list[Reply]) -> Iterable[Reply]:
        for reply in replies:
            if reply.client == 1:
                _, own = read_packet(reply.report, REPORT, toy.plan.digest, 1)
                reply = reply._replace(report=make_packet(REPORT, toy.plan.digest, 1, 0.0, body(bytes(own))))
            yield reply

    outcome = toy.play(1, tamper)
    clients = np.sort(np.concatenate([measured.clients for measured in outcome.measurements]))
    assert clients.tolist() == [0, 2, 3, 4] and sum(outcome.rejected.values()) == 1


def test_replies_may_come_in_any_order() -> None:
    toy, same = make_toy(metrics="all"), make_toy(metrics="all")
    one = toy.play(1).measurements
    requests = same.open(1)
    replies = list(same.client_pool.handle(requests, same.store))[::-1]
    other = same.server.close_round(requests, [replies_of(replies[:2]), replies_of(replies[2:])]).measurements
    for first, second in zip(one, other, strict=True):
        for task, tally in first.tallies.items():
            for left, right in zip(tally, second.tallies[task], strict=True):
                np.testing.assert_array_equal(left, right)
