"""What is private stays: every packet of whole runs is caught on its way, opened and searched.

Three independent searches, for every algorithm over every codec:

* *numbers*: as many float32 as the shared parameters have are in a packet, and its decoded names are theirs;
* *values*: no two consecutive float32 of a head, of an input or of a real-valued label, before or after any
  round, are anywhere in a packet, at whatever offset (two, because one number may occur twice by chance);
* *names*: no name of a parameter or a task is in a packet, and messages hold nothing beside packets but a
  fixed set of plain fields.

Algorithms that leak on purpose show that the searches find something.
"""

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from torch import nn

from fedmtl.algorithms import FedAvg, FedPer, FedRep, Local, Pooled
from fedmtl.codecs import FP16, Dense, ErrorFeedback, Int8, TopK
from fedmtl.core.types import LocalResult, LossFn, Params, Payload, Upload
from fedmtl.protocol.plan import Plan
from fedmtl.runtime.flower.messages import packet_bytes
from tests.server.caught import data_pairs, decoded_names, leaked_names, leaked_values, pairs, play, private_pairs
from tests.server.toy import MODEL, TRUNK_NUMBERS

ALGORITHMS = [FedPer(epochs=1), FedRep(head_epochs=1), FedAvg(epochs=1), Local(epochs=1), Pooled(epochs=1)]
CODECS = [
    (Dense(), Dense()),
    (FP16(), FP16()),
    (Int8(block=8), Int8(block=8)),
    (TopK(0.25), Dense()),
    (ErrorFeedback(TopK(0.25)), FP16()),
]
"""Up, down."""

each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda value: type(value).__name__)
each_codec = pytest.mark.parametrize("codecs", CODECS, ids=lambda pair: repr(pair[0]))


@dataclass(frozen=True)
class WideHeads:
    """The toy's trunk under heads of two layers."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return MODEL.trunk(input_shape)

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, outputs))


played = cache(play)


def shared_names(algorithm: Any, plan: Plan, owned: tuple[str, ...]) -> set[str]:
    """What the algorithm's file says that it shares: the trunk; everything; nothing."""
    trunk = {name for name in plan.initial if name.startswith("trunk.")}
    if isinstance(algorithm, Local):
        return set()
    if isinstance(algorithm, (FedAvg, Pooled)):
        return trunk | {name for name in plan.initial if name.startswith(tuple(f"head.{task}." for task in owned))}
    return trunk


@each_algorithm
@each_codec
def test_packets_hold_the_shared_names_and_numbers_only(algorithm: Any, codecs: tuple[Any, Any]) -> None:
    caught = played(algorithm, codecs)
    found = decoded_names(caught)
    # Five broadcasts a round and five at the end; three uploads a round.
    assert len(found) == 4 * 5 + 3 * (0 if isinstance(algorithm, Pooled) else 3)
    for client, names, numbers in found:
        shared = shared_names(algorithm, caught.plan, caught.federation.clients[client].tasks)
        assert names == shared
        assert numbers == sum(caught.plan.initial[name].numel() for name in shared)
    if isinstance(algorithm, (FedPer, FedRep)):
        assert {numbers for _, _, numbers in found} == {TRUNK_NUMBERS}


@each_algorithm
@each_codec
def test_a_packet_is_no_longer_than_its_shared_numbers_need(algorithm: Any, codecs: tuple[Any, Any]) -> None:
    """Read from the bytes, without the plan: 32 of header, then what the codec makes of that many numbers."""
    caught = played(algorithm, codecs)

    def body_bytes(codec: Any, n: int) -> int:
        return len(codec.encode(np.ones(n, np.float32), codec.init(n), np.random.default_rng(0))[0]) if n else -32

    for _, visit in caught.visits:
        owned = caught.federation.clients[visit.client].tasks
        shared = shared_names(algorithm, caught.plan, owned)
        n = sum(caught.plan.initial[name].numel() for name in shared)
        if visit.train or visit.evaluate:
            assert len(visit.packet) == 32 + body_bytes(codecs[1], n)
        if visit.train:
            updates = {len(reply.update) for _, reply in caught.replies if reply.client == visit.client} - {0}
            assert updates == ({32 + body_bytes(codecs[0], n)} - {0})
    sums = {"multiclass": 2, "binary": 2, "regression": 2, "multilabel": 4}
    for round, reply in caught.replies:
        tasks = caught.federation.clients[reply.client].tasks
        numbers = sum(sums[task.split("_")[0]] for task in tasks)
        if round <= 3:
            assert len(reply.report) == 32 + 8 * numbers
        else:  # the last model, by all metrics: at most four cells an entry, of a step and a count of 5 bytes together
            more = sum({"multiclass": 1, "binary": 1, "regression": 3, "multilabel": 1}[t.split("_")[0]] for t in tasks)
            entries = sum(labels.size for labels in caught.federation.clients[reply.client].test.y.values())
            assert 0 <= len(reply.report) - 32 - 8 * (numbers + more) <= 20 * entries + len(tasks)


@each_algorithm
@each_codec
def test_no_private_value_and_no_example_is_in_any_packet(algorithm: Any, codecs: tuple[Any, Any]) -> None:
    caught = played(algorithm, codecs)
    private = private_pairs(caught)
    # FedAvg and Pooled keep nothing private; the others were seen with many heads, before and after each round.
    assert (len(private) > 200) == (not isinstance(algorithm, (FedAvg, Pooled)))
    assert leaked_values(caught, private) == 0
    examples = data_pairs(caught.federation)
    assert len(examples) > 200
    if isinstance(algorithm, Pooled):
        assert leaked_values(caught, examples) > 100  # that is what it is for
    else:
        assert leaked_values(caught, examples) == 0


@each_algorithm
@each_codec
def test_no_name_is_in_any_packet_and_messages_hold_fixed_fields(algorithm: Any, codecs: tuple[Any, Any]) -> None:
    caught = played(algorithm, codecs)
    if not isinstance(algorithm, Pooled):  # raw data says which task its labels are of
        assert leaked_names(caught) == []
    fields = {
        "visits": {
            *("plan", "run", "round", "add", "full", "since", "part", "best"),
            *("clients", "start", "length", "evaluate", "train", "gather"),
        },
        "replies": {
            *("round", "clients", "report", "update", "seconds", "troubled", "problems"),
            *("phases", "phase_seconds"),
        },
        "roster": {"clients", "owns", "tasks"},
    }
    kinds = set()
    for message in caught.messages:
        content = message.content
        assert not content.metric_records
        for name, config in content.config_records.items():
            assert set(config) == fields[name]
            kinds.add(name)
        for name, arrays in content.array_records.items():
            assert name == "packets" and list(arrays) == ["packets"]
        replies = content.config_records.get("replies")
        if replies is not None:
            assert replies["problems"] == [] and replies["phases"] == ["state", "evaluate", "train", "encode", "add"]
    assert kinds == set(fields)


@each_algorithm
@each_codec
def test_the_ledger_is_what_was_in_the_messages(algorithm: Any, codecs: tuple[Any, Any]) -> None:
    """Between machines each packet lies in its message; within one, equal packets may lie there once."""
    caught = played(algorithm, codecs)
    counted = sum(row["payload_bytes"] for row in caught.result.ledger)
    assert counted == sum(packet_bytes(message) for message in caught.messages)
    assert counted == sum(len(packet) for packet in caught.packets)
    if algorithm in (ALGORITHMS[0], ALGORITHMS[3]):
        sharing = played(algorithm, codecs, shares_memory=True)
        assert sharing.result.ledger == caught.result.ledger
        really = sum(packet_bytes(message) for message in sharing.messages)
        assert really < counted if sharing.result.summary["bytes"]["down"] else really == counted


@each_algorithm
@each_codec
def test_packet_sizes_do_not_depend_on_heads_that_stay(algorithm: Any, codecs: tuple[Any, Any]) -> None:
    narrow, wide = (played(algorithm, codecs, model).result.ledger for model in (MODEL, WideHeads()))
    if isinstance(algorithm, (FedPer, FedRep, Local)):
        assert narrow == wide
        return
    assert [{**row, "payload_bytes": 0} for row in narrow] == [{**row, "payload_bytes": 0} for row in wide]
    for one, other in zip(narrow, wide, strict=True):
        carries_heads = one["direction"] == "down" or one["purpose"] == "train"
        assert (one["payload_bytes"] < other["payload_bytes"]) == carries_heads


# The searches find what is there


@dataclass(frozen=True)
class Leaky:
    """FedPer, but for a way out."""

    how: str
    lr: float = 0.1

    @property
    def _honest(self) -> FedPer:
        return FedPer(lr=self.lr, epochs=1)

    def init_server(self, params: Params) -> Params:
        return self._honest.init_server(params)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return self._honest.init_client(params, num_examples)

    def broadcast(self, server: Params, client: int) -> Payload:
        return self._honest.broadcast(server, client)

    def local_update(self, loss: LossFn, down: Payload, private: Params, batches: Any) -> LocalResult[Params]:
        head, (payload, n) = self._honest.local_update(loss, down, private, batches)
        trunk = payload["trunk"]
        name = next(name for name in sorted(head) if name.endswith("weight"))
        if self.how == "beside":
            payload = {"trunk": trunk, "head": {name: head[name]}}
        elif self.how == "renamed":
            payload = {"trunk": {**trunk, "trunk.more": head[name].flatten()[:2]}}
        elif self.how == "inside":
            payload = {"trunk": {**trunk, "trunk.1.bias": head[name].flatten()[:4]}}
        elif self.how == "examples":
            payload = {"trunk": {**trunk, "trunk.1.bias": batches[0]["x"].flatten()[:4]}}
        return LocalResult(head, Upload(payload, n))

    def aggregate(self, server: Params, uploads: Any) -> Params:
        trunks = (
            (c, Upload({"trunk": {k: u.payload["trunk"][k] for k in server}}, u.num_examples)) for c, u in uploads
        )
        return self._honest.aggregate(server, trunks)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return self._honest.personal_params(down, private)


@pytest.mark.parametrize("how", ["not at all", "beside", "renamed", "inside", "examples"])
def test_leaks_are_found(how: str) -> None:
    caught = play(Leaky(how), CODECS[0], engine="loop")
    trunk = {name for name in caught.plan.initial if name.startswith("trunk.")}
    strangers = [names - trunk for _, names, _ in decoded_names(caught) if names != trunk]
    assert bool(strangers) == (how in ("beside", "renamed"))
    assert bool(leaked_values(caught, private_pairs(caught))) == (how in ("beside", "renamed", "inside"))
    assert bool(leaked_values(caught, data_pairs(caught.federation))) == (how == "examples")
    narrow = [row for row in caught.result.ledger if (row["direction"], row["purpose"]) == ("up", "train")]
    assert {row["payload_bytes"] > 32 + 4 * TRUNK_NUMBERS for row in narrow} == {how in ("beside", "renamed")}


def test_names_are_found() -> None:
    caught = play(ALGORITHMS[4], CODECS[0])  # raw data carries the names of its tasks
    assert set(leaked_names(caught)) == {task.encode() for task in caught.federation.tasks}


def test_pairs_are_two_consecutive_numbers() -> None:
    found = pairs(np.array([0.0, 0.0, 1.5, 2.5], np.float32))
    assert found == {struct.pack("<2f", 0.0, 1.5), struct.pack("<2f", 1.5, 2.5)}
