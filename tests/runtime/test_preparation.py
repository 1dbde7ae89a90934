"""A preparation over messages: each node summarises its own data, and no machine has all of it.

The reference is one process with all data. The nodes here have their own clients' rows and stand-ins for others, the
server stand-ins alone: statistics over stand-ins would be others, so results are equal only if summaries are exchanged.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedmtl.client.state.base import StateError
from fedmtl.data.base import Federation
from fedmtl.data.moments import FeatureMoments, MomentsRule, moments_of
from fedmtl.data.prepared import prepared_by
from fedmtl.data.table_rule import TableRule
from fedmtl.protocol.packets import concat
from fedmtl.protocol.preparation import agreed_packet, summary_packets
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.recorder import Recorder
from fedmtl.runs.result import Result
from fedmtl.runtime import node
from fedmtl.runtime.direct_grid import new_run_id
from fedmtl.runtime.flower.client_app import app as client_app
from fedmtl.runtime.flower.messages import NotPrepared
from fedmtl.runtime.flower.records import PREPARATION
from fedmtl.runtime.flower.server_app import serve
from fedmtl.runtime.prepared_node import agreed_of
from fedmtl.server.agreement import Summaries, agree
from tests.runtime import sites
from tests.runtime.hostile import put_bytes

NODES = {1: (0, 2), 2: (1, 3)}
MODELS = {"Scaled": "MLP((3,))", "Reviews": "BagOfEmbeddings(vocabulary=40, width=4, hidden=3)"}


def experiment(data: str, **settings: Any) -> Experiment:
    values = {"name": "sites", "data": getattr(sites, data)(), "model": MODELS[data], "algorithm": "FedAvg(lr=0.1)"}
    values |= {"rounds": 2, "batch_size": 4, "engine": "Loop", "runtime": "Flower(wait_seconds=0.2)"}
    return Experiment(**{**values, **settings})


@pytest.fixture(autouse=True)
def named_by_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a preset on the disk of each node, the name of the data."""
    monkeypatch.setattr(node, "read_run_config", lambda run, own=None: experiment(run["data"]))


Alter = Callable[[int, Message], Any]


class Machines:
    """A grid of nodes that are made from their configuration, each on a machine with the data of its clients."""

    def __init__(
        self, data: str, nodes: dict[int, tuple[int, ...]] = NODES, alter: Alter = lambda node, reply: None
    ) -> None:
        self.run_id = new_run_id()
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = self.run_id, 0, self.run_id
        self.data, self._nodes, self._alter, self.asked = data, dict(nodes), alter, list[str]()
        self.contexts = {node: self._context(node) for node in nodes}

    def _context(self, node: int, **config: Any) -> Context:
        own = {"clients": ",".join(map(str, self._nodes[node])), **config}
        return Context(self.run_id, node, own, RecordDict(), {"data": self.data})

    def restart(self, node: int, other: int) -> None:
        """A node loses its memory, and returns under another id."""
        self._nodes[other] = self._nodes.pop(node)
        del self.contexts[node]
        self.contexts[other] = self._context(other)

    def keep(self, node: int, folder: Path) -> None:
        self.contexts[node] = self._context(node, **{"state-dir": str(folder)})

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        found = []
        for message in messages:
            number = message.metadata.dst_node_id
            kind = message.metadata.message_type
            if PREPARATION in message.content:
                kind = "agreed" if "packets" in message.content else "summary"
            self.asked.append(kind)
            sites.at(self._nodes[number])
            reply = client_app(message, self.contexts[number])
            sites.at(())
            found.append(self._alter(number, reply) or reply)
        return found


def play(grid: Machines, folder: Path | None = None, resume: bool = False, **given: Any) -> Result:
    sites.at(())
    made = experiment(grid.data)
    return serve(grid, made, made.load().schema, Recorder(made, folder, resume), **given)  # pyright: ignore[reportArgumentType]


@cache
def reference(data: str) -> Result:
    """One process with all data."""
    sites.at(range(sites.CLIENTS))
    return run(experiment(data, runtime="InProcess"))


@pytest.mark.parametrize("data", MODELS)
def test_nodes_with_their_own_data_alone_have_the_results_of_one_process(data: str) -> None:
    """Rows, ledger and model, and Flower's messages hold the bytes of the ledger."""
    grid = Machines(data)
    found, wanted = play(grid), reference(data)
    assert grid.asked == ["query"] * 2 + ["summary"] * 2 + ["agreed"] * 2 + ["train"] * 4 + ["evaluate"] * 2
    assert found.ledger == wanted.ledger and [row for row in found.ledger if row["purpose"] == "prepare"]
    assert found.summary["digests"] == wanted.summary["digests"]
    assert all(torch.equal(found.state[name], value) for name, value in wanted.state.items())
    assert found.summary["bytes"]["messages"] == {way: found.summary["bytes"][way] for way in ("down", "up")}
    assert not found.summary["rejected"]


def test_a_run_goes_on_by_what_was_agreed(tmp_path: Path) -> None:
    """Where it was left, where a node has lost it and returns under another id, and where one keeps it on disk."""
    wanted, out = reference("Reviews"), tmp_path / "run"
    first = Machines("Reviews")
    play(first, out, pause=lambda progress: progress.round == 1)
    second = Machines("Reviews")
    found = play(second, out, resume=True)
    assert "summary" not in second.asked and second.asked.count("agreed") == 2
    assert found.summary["digests"] == wanted.summary["digests"] and found.ledger == wanted.ledger
    packet = out / "checkpoint" / "agreed.packet"
    packet.write_bytes(packet.read_bytes()[:-1] + b"?")
    with pytest.raises(StateError, match="checksum .* Restore the file, or begin anew"):
        play(Machines("Reviews"), out, resume=True)

    third = Machines("Reviews")
    third.keep(2, tmp_path / "state")
    left = play(third, on_round=lambda progress: third.restart(1, 7) if progress.round == 1 else None)
    assert third.asked.count("summary") == 2 and third.asked.count("agreed") == 3
    assert left.summary["digests"] == wanted.summary["digests"] and left.ledger == wanted.ledger
    (kept,) = (tmp_path / "state").glob("*/agreed.packet")
    context, run_name = third.contexts[2], kept.parent.name
    digest = bytes(kept.read_bytes()[8:16])
    assert agreed_of(context, run_name, digest)
    kept.write_bytes(b"short")
    with pytest.raises(StateError, match=r"agreed.packet: The agreement packet needs .* or begin the run anew"):
        agreed_of(context, run_name, digest)
    kept.unlink()
    with pytest.raises(NotPrepared):
        agreed_of(context, run_name, digest)


# Hostile summaries


def moments(count: Any, mean: Any, squares: Any) -> bytes:
    return FeatureMoments(np.full(3, count), np.full(3, float(mean)), np.full(3, float(squares))).to_bytes()


GOOD = {client: moments_of(sites.rows_of(client)).to_bytes() for client in range(sites.CLIENTS)}
RULE = MomentsRule(3)
BAD: dict[str, tuple[Any, str, str]] = {
    "a mean that is none": (moments(5, np.nan, 1), "values", "no finite mean and variance"),
    "an infinite variance": (moments(5, 1, np.inf), "values", "no finite mean and variance"),
    "a negative variance": (moments(5, 1, -1), "values", "no finite mean and variance"),
    "a mean that would end the run of all": (moments(5, 1e308, 1), "values", "beyond float32"),
    "other columns": (moments(5, 1, 1)[:40], "values", "3 features are 60 bytes, got 40"),
    "a weight of millions": (moments(2**31, 1, 1), "weight", "counts 2.14748e\\+09, and its client can have at most 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_hostile_summary_is_left_out_and_named(name: str) -> None:
    """What is agreed is the statistics of the other three, from all their rows."""
    body, kind, reason = BAD[name]
    prepared = prepared_by(RULE, {**GOOD, 0: body} if kind == "weight" else GOOD, lambda _: None, b"")
    packets = summary_packets(prepared_by(RULE, {**GOOD, 0: body}, lambda _: None, b""), range(4))
    schema: Any = sites.Scaled().load(0).schema
    agreed, left_out = agree(RULE, prepared.digest, [Summaries(1, np.arange(4), packets)], schema, 1.0)
    assert [(each.kind, each.client, each.node, each.part) for each in left_out] == [(kind, 0, 1, "summary")]
    assert re.search(reason, left_out[0].reason)
    rows = np.concatenate([sites.rows_of(client) for client in (1, 2, 3)]).astype(float)
    mean, std = RULE.agreed(agreed)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, rows.std(0), rtol=1e-12)


def test_nothing_is_agreed_by_nothing() -> None:
    schema: Any = SimpleNamespace(examples=None)
    prepared = prepared_by(RULE, GOOD, lambda _: None, b"")
    damaged = summary_packets(prepared, [0])[0][:-1] + b"?"
    for packet in (damaged, agreed_packet(prepared.digest, b"")):
        with pytest.raises(RuntimeError, match="No client's summary can be used.*(checksum|Expected a summary packet)"):
            agree(RULE, prepared.digest, [Summaries(1, np.arange(1), concat([packet]))], schema, 1.0)


def test_a_category_of_every_row_is_no_summary() -> None:
    table = sites.Reviews().load(0).prepared
    assert table is not None and isinstance(table.rule, TableRule) and table.rule.texts == ("review",)
    for body in (b"", b"\xff" * 40, table.sent[0][:-1] + b"x", table.sent[0] + b"\0\0\0\0"):
        with pytest.raises(ValueError, match="summary of a table|Counts of words"):
            table.rule.weight(body)


def test_a_node_without_a_usable_summary_takes_part_in_all_but_the_statistics() -> None:
    """An error of its own, or a message that nobody asked for: named, counted, and the run goes on."""

    def strange(node: int, reply: Message) -> None:
        if node == 1 and reply.has_content() and PREPARATION in reply.content and "packets" in reply.content:
            put_bytes(reply.content, b"what")

    found = play(Machines("Scaled", alter=strange))
    assert found.summary["rejected"] == {"message": 1}
    up = {row["client"] for row in found.ledger if row["purpose"] == "prepare" and row["direction"] == "up"}
    down = {row["client"] for row in found.ledger if row["purpose"] == "prepare" and row["direction"] == "down"}
    assert up == {1, 3} and down == {0, 1, 2, 3}


def test_a_node_of_other_columns_is_refused() -> None:
    """Of its clients nothing is agreed; where no node has the server's columns, the error names the first."""
    grid = Machines("Scaled")
    experiments = {"Scaled": experiment("Scaled"), "Centred": replace(experiment("Scaled"), data=Centred())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "read_run_config", lambda run, own=None: experiments[run["data"]])
        for context in grid.contexts.values():
            context.run_config["data"] = "Centred"
        with pytest.raises(RuntimeError, match="No client's summary can be used"):
            play(grid)


@dataclass(frozen=True)
class Centred:
    """The same clients, with a rule of two of the features."""

    def load(self, seed: int) -> Federation:
        found = sites.Scaled().load(seed)
        assert found.prepared is not None
        return replace(found, prepared=replace(found.prepared, rule=MomentsRule(2)))
