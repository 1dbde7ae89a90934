"""What is private stays: every packet of whole runs is caught on its way, opened and searched.

Three independent searches, for every algorithm over every codec:

* *numbers*: as many float32 as the shared parameters have are in a packet, and its decoded names are theirs;
* *values*: no two consecutive float32 of a head, of an input or of a real-valued label, before or after any
  round, are anywhere in a packet, at whatever offset (two, because one number may occur twice by chance);
* *names*: no name of a parameter or a task is in a packet, and messages hold nothing beside packets but a
  fixed set of plain fields.

Seven pairs of codecs meet every algorithm; every other codec, which is on the same way, meets two.

Algorithms that leak on purpose show that the searches find something.
"""

import struct
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from torch import nn

from fedmtl.algorithms import (
    IFCA,
    Ensemble,
    FedAvg,
    FedBN,
    FedEM,
    FedPer,
    FedRep,
    FedU,
    FLoRA,
    GraphStructured,
    Local,
    Mocha,
    Pooled,
    Scaffold,
    Transfer,
)
from fedmtl.algorithms.traits import Traits
from fedmtl.codecs import FP16, Chain, Dense, ErrorFeedback, Int8, PerLayer, TopK
from fedmtl.codecs.layout import layout_of
from fedmtl.codecs.stated import stated_bytes
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise
from fedmtl.core.context import Context
from fedmtl.core.types import LocalResult, LossFn, Params, Payload, Upload
from fedmtl.models import LoRA, Model
from fedmtl.protocol.plan import Plan
from fedmtl.registry.components import REGISTRY, make
from fedmtl.runtime.flower.messages import packet_bytes
from tests.algorithms.claims import CLAIMS
from tests.cases import case
from tests.conftest import ADAPTED, ALL_ALGORITHMS, tiny_model
from tests.server.caught import (
    ROUNDS,
    Caught,
    data_pairs,
    decoded_names,
    first_pairs,
    leaked_names,
    leaked_values,
    pairs,
    play,
    private_pairs,
)
from tests.server.toy import DATA, MODEL, TRUNK_NUMBERS

FIVE = [FedPer(epochs=1), FedRep(head_epochs=1), FedAvg(epochs=1), Local(epochs=1), Pooled(epochs=1)]
GRAPHS = {
    FedU: FedU(epochs=1, beta=1.0, edges=("3-0", "3-1:0.5", "3-4:2")),
    GraphStructured: GraphStructured(epochs=1, groups=("0 4",), edges=("1-3:0.5", "0-3")),
}
"""Those whose fields name clients, with clients of the toy."""

REST = {type(each): GRAPHS.get(type(each), each) for each in ALL_ALGORITHMS if type(each) not in map(type, FIVE)}
ALGORITHMS = [*FIVE, *REST.values()]

CODECS = [
    (Dense(), Dense()),
    (FP16(), FP16()),
    (Int8(block=8), Int8(block=8)),
    (TopK(0.25), Dense()),
    (ErrorFeedback(TopK(0.25)), FP16()),
    (Chain(ClipNorm(1.0), GaussianNoise(0.01), ErrorFeedback(TopK(0.25))), Chain(FP16())),
    (PerLayer({"*weight*": Dense()}), PerLayer({"*weight*": Dense()})),  # whose bytes do not depend on the layers
]
"""Up, down."""

OTHERS = [
    (make("codec", name), Dense()) for name in REGISTRY["codec"] if name not in {type(up).__name__ for up, _ in CODECS}
]


class Sent(NamedTuple):
    """How many numbers a packet holds: copies of the shared parameters, and others beside them."""

    copies: int = 1
    beside: int = 0


SENT: dict[type, tuple[Sent, Sent]] = {
    Scaffold: (Sent(2), Sent(2)),  # a model and a control variate
    FedEM: (Sent(2), Sent(2)),  # components
    IFCA: (Sent(3), Sent(1, 3)),  # clusters; the choice goes up as a row of as many
    Ensemble: (Sent(5, 5 * 4), Sent()),  # the model of each client, and a mark of each of the four tasks for it
    Transfer: (Sent(1, 1), Sent()),  # whether the trunk moves
    FLoRA: (Sent(1, 6 * 6), Sent()),  # the update of the whole weight of a layer from 6 features to 6
    Mocha: (Sent(1, 2), Sent()),  # ρΣ_tt of each of the client's two tasks
}
"""Down, up; one copy where there is nothing here."""


PAIRS = [(algorithm, pair) for pair in CODECS for algorithm in ALGORITHMS]
PAIRS += [(algorithm, pair) for pair in OTHERS for algorithm in (FIVE[0], FIVE[2])]


@dataclass(frozen=True)
class WideHeads:
    """A model's trunk under heads of two layers."""

    model: Model

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return self.model.trunk(input_shape)

    def head(self, features: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, outputs))


def model_for(algorithm: Any) -> Model:
    return tiny_model(algorithm) if isinstance(algorithm, (FedBN, Mocha, *ADAPTED)) else MODEL


def played(algorithm: Any, codecs: tuple[Any, Any], wide: bool = False, shares_memory: bool = False) -> Caught:
    """A run; a pair of algorithm and codec that is refused sends nothing, and the test ends there.

    Clients are stacked over the first codec, where their uploads are packed as all are; over the others they are not.
    """
    model = model_for(algorithm)
    data = replace(DATA, kind="binary") if isinstance(algorithm, Mocha) else DATA
    if wide:
        model = replace(model, model=WideHeads(model.model)) if isinstance(model, LoRA) else WideHeads(model)
    engine = "vmap" if codecs == CODECS[0] and not wide else "loop"
    return play(algorithm, codecs, model, shares_memory, engine, data)


ADDS_UP = (Scaffold,)
"""What is private there could be added up from what is sent, by the algorithm's own last line."""


def shared_names(algorithm: Any, plan: Plan, owned: tuple[str, ...], direction: str) -> set[str]:
    """The parameters that the algorithm's file says it shares, of the client's own tasks."""
    prefixes = getattr(CLAIMS[type(algorithm)], direction)
    own = [name for name in plan.initial if not name.startswith("head.") or name.split(".")[1] in owned]
    return {name for name in own if name.startswith(prefixes)}


def sent(algorithm: Any, plan: Plan, owned: tuple[str, ...], direction: str) -> int:
    """Numbers of a packet."""
    shared = shared_names(algorithm, plan, owned, direction)
    copies, beside = SENT.get(type(algorithm), (Sent(), Sent()))[("down", "up").index(direction)]
    return copies * sum(plan.initial[name].numel() for name in shared) + beside


def test_every_algorithm_and_every_codec_is_searched() -> None:
    assert {type(each).__name__ for each, pair in PAIRS if pair is CODECS[0]} == REGISTRY["algorithm"].keys()
    assert {type(up).__name__ for _, (up, _) in PAIRS} == REGISTRY["codec"].keys()


def packets_hold_the_shared_names_and_numbers_only(algorithm: Any, codecs: tuple[Any, Any], caught: Caught) -> None:
    found = decoded_names(caught)
    claim = CLAIMS[type(algorithm)]
    # Broadcasts to all before the first round and at the end, which are measured; to the cohort of others; uploads.
    assert len(found) == 2 * 5 + (0 if isinstance(algorithm, Pooled) else (ROUNDS - 1) * 3 + ROUNDS * 3)
    for direction, client, names, numbers in found:
        owned = caught.federation.clients[client].tasks
        beside = set(claim.told if direction == "down" else claim.beside)
        if isinstance(algorithm, Ensemble) and direction == "down":  # the claim has the tasks of another federation
            beside = {f"present.{task}" for task in caught.federation.tasks}
        assert names == shared_names(algorithm, caught.plan, owned, direction) | beside
        assert numbers == sent(algorithm, caught.plan, owned, direction)
    if isinstance(algorithm, (FedPer, FedRep)):
        assert {numbers for *_, numbers in found} == {TRUNK_NUMBERS}


def a_packet_is_no_longer_than_its_shared_numbers_need(algorithm: Any, codecs: tuple[Any, Any], caught: Caught) -> None:
    """Read from the bytes: 32 of header, then those that the codec states for that many numbers, or for arrays of the
    shapes of the shared parameters where it codes matrices, and four of a version where the receiver remembers."""
    exact = all(stated_bytes(codec, 1).exact for codec in codecs)

    def body_bytes(codec: Any, owned: tuple[str, ...], direction: str) -> int:
        n = sent(algorithm, caught.plan, owned, direction)
        if not codec.traits.by_layout or codec.traits.by_name:
            return stated_bytes(codec, n).most if n else -32
        shared = sorted(shared_names(algorithm, caught.plan, owned, direction))
        layout = layout_of([(name, tuple(caught.plan.initial[name].shape)) for name in shared])
        assert layout.size == n
        return stated_bytes(codec, layout).most

    for _, request in caught.requests:
        owned = caught.federation.clients[request.client].tasks
        if request.train or request.evaluate:
            assert len(request.packet) == 32 + body_bytes(codecs[1], owned, "down")
        if request.train:
            updates = {len(reply.update) for _, reply in caught.replies if reply.client == request.client} - {0}
            most = 32 + body_bytes(codecs[0], owned, "up") + 4 * codecs[0].traits.receiver_memory
            assert updates == {most} - {0} if exact else max(updates, default=0) <= most
    sums = {"multiclass": 2, "binary": 2, "regression": 2, "multilabel": 4}
    for round, reply in caught.replies:
        tasks = caught.federation.clients[reply.client].tasks
        numbers = sum(sums[task.split("_")[0]] for task in tasks)
        if round <= ROUNDS:
            assert len(reply.report) == (32 + 8 * numbers if round == 1 else 0)
        else:  # the last model, by all metrics: at most four cells an entry, of a step and a count of 5 bytes together
            more = sum({"multiclass": 1, "binary": 1, "regression": 3, "multilabel": 1}[t.split("_")[0]] for t in tasks)
            entries = sum(labels.size for labels in caught.federation.clients[reply.client].test.y.values())
            assert 0 <= len(reply.report) - 32 - 8 * (numbers + more) <= 20 * entries + len(tasks)


def no_private_value_and_no_example_is_in_any_packet(algorithm: Any, codecs: tuple[Any, Any], caught: Caught) -> None:
    """Parameters that are kept and sent as well are left out, as are the first ones of those that are sent, which all
    begin with: Ditto's personal model begins as the shared one."""
    claim = CLAIMS[type(algorithm)]
    known = ("",) if isinstance(algorithm, ADDS_UP) else claim.up if claim.copies else ()
    private = private_pairs(caught, known)
    # FedAvg and Pooled keep nothing private; the others were seen with many heads, before and after each round.
    if algorithm in FIVE:
        assert (len(private) > 100) == (not isinstance(algorithm, (FedAvg, Pooled)))
    assert len(private) > 30 or not claim.private or "" in known
    assert leaked_values(caught, private - first_pairs(caught, (*claim.down, *claim.up))) == 0
    examples = data_pairs(caught.federation)
    assert len(examples) > 200
    if isinstance(algorithm, Pooled):
        assert leaked_values(caught, examples) > 100  # that is what it is for
    else:
        assert leaked_values(caught, examples) == 0


def no_name_is_in_any_packet_and_messages_hold_fixed_fields(
    algorithm: Any, codecs: tuple[Any, Any], caught: Caught
) -> None:
    if not isinstance(algorithm, Pooled):  # raw data says which task its labels are of
        assert leaked_names(caught) == []
    fields = {
        "requests": {
            *("plan", "run", "round", "version", "add", "full", "since", "part", "best"),
            *("clients", "start", "length", "evaluate", "train", "raw_data"),
            *(["memories"] if codecs[0].traits.receiver_memory else []),
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


def the_ledger_is_what_was_in_the_messages(algorithm: Any, codecs: tuple[Any, Any], caught: Caught) -> None:
    """Between machines each packet lies in its message; within one, equal packets may lie there once: of an algorithm
    that sends to all, by a codec without chance and by one with it, and of one that sends nothing."""
    counted = sum(row["packet_bytes"] for row in caught.result.ledger)
    assert counted == sum(packet_bytes(message) for message in caught.messages)
    assert counted == sum(len(packet) for packet in caught.packets)
    if algorithm is FIVE[3] and codecs is CODECS[0] or algorithm is FIVE[0] and codecs in (CODECS[0], CODECS[5]):
        sharing = played(algorithm, codecs, shares_memory=True)
        assert sharing.result.ledger == caught.result.ledger
        really = sum(packet_bytes(message) for message in sharing.messages)
        assert really < counted if sharing.result.summary["bytes"]["down"] else really == counted


def packet_sizes_do_not_depend_on_heads_that_stay(algorithm: Any, codecs: tuple[Any, Any], caught: Caught) -> None:
    """By one codec for most, by six others where heads stay and where they travel: that lengths follow from numbers
    with all is tested above."""
    six = codecs in CODECS and algorithm in (FIVE[0], FIVE[2])
    if not (codecs is CODECS[0] or six) or not stated_bytes(codecs[0], 1).exact:
        return
    if isinstance(algorithm, Mocha):  # its model has one layer
        return
    claim = CLAIMS[type(algorithm)]
    narrow, wide = caught.result.ledger, played(algorithm, codecs, wide=True).result.ledger
    what = ("round", "client", "direction", "purpose")  # ideal bits follow from the numbers, which wider heads move
    assert [[row[each] for each in what] for row in narrow] == [[row[each] for each in what] for row in wide]
    for one, other in zip(narrow, wide, strict=True):
        heads = {"down": claim.down, "up": claim.up if one["purpose"] == "train" else ()}[one["direction"]]
        travel = "head.".startswith(heads)
        assert one["packet_bytes"] < other["packet_bytes"] if travel else one["packet_bytes"] == other["packet_bytes"]


@pytest.mark.parametrize(
    ("algorithm", "codecs"),
    PAIRS,
    ids=lambda value: repr(value[0]) if isinstance(value, tuple) else type(value).__name__,
)
def test_a_pair_leaks_nothing_or_is_refused_before_the_run_with_the_way_out(
    algorithm: Any, codecs: tuple[Any, Any]
) -> None:
    try:
        caught = played(algorithm, codecs)
    except ValueError as error:
        assert type(algorithm).__name__ in str(error) and type(codecs[0]).__name__ in str(error)
        assert "use" in str(error) or "give" in str(error)
        return
    assert caught.result.summary["bytes"]["train"]["total"] >= 0
    assert all(row["value"] is not None for row in caught.result.rows if row["examples"])
    for check in (
        packets_hold_the_shared_names_and_numbers_only,
        a_packet_is_no_longer_than_its_shared_numbers_need,
        no_private_value_and_no_example_is_in_any_packet,
        no_name_is_in_any_packet_and_messages_hold_fixed_fields,
        the_ledger_is_what_was_in_the_messages,
        packet_sizes_do_not_depend_on_heads_that_stay,
    ):
        with case(check.__name__):
            check(algorithm, codecs, caught)


# The searches find what is there


@dataclass(frozen=True)
class Leaky:
    """FedPer, but for a way out."""

    traits = Traits()

    how: str
    lr: float = 0.1

    @property
    def _honest(self) -> FedPer:
        return FedPer(lr=self.lr, epochs=1)

    def init_server(self, params: Params, ctx: Context) -> Params:
        return self._honest.init_server(params, ctx)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return self._honest.init_client(params, num_examples)

    def broadcast(self, server: Params, client: int, ctx: Context) -> Payload:
        return self._honest.broadcast(server, client, ctx)

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Any, ctx: Context
    ) -> LocalResult[Params]:
        head, (payload, n), _ = self._honest.local_update(loss, down, private, batches, ctx)
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

    def aggregate(self, server: Params, uploads: Any, ctx: Context) -> Params:
        trunks = (
            (c, Upload({"trunk": {k: u.payload["trunk"][k] for k in server}}, u.num_examples)) for c, u in uploads
        )
        return self._honest.aggregate(server, trunks, ctx)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return self._honest.personal_params(down, private)


@pytest.mark.parametrize("how", ["not at all", "beside", "renamed", "inside", "examples"])
def test_leaks_are_found(how: str) -> None:
    caught = play(Leaky(how), CODECS[0], engine="loop")
    trunk = {name for name in caught.plan.initial if name.startswith("trunk.")}
    strangers = [names - trunk for _, _, names, _ in decoded_names(caught) if names != trunk]
    assert bool(strangers) == (how in ("beside", "renamed"))
    assert bool(leaked_values(caught, private_pairs(caught))) == (how in ("beside", "renamed", "inside"))
    assert bool(leaked_values(caught, data_pairs(caught.federation))) == (how == "examples")
    narrow = [row for row in caught.result.ledger if (row["direction"], row["purpose"]) == ("up", "train")]
    assert {row["packet_bytes"] > 32 + 4 * TRUNK_NUMBERS for row in narrow} == {how in ("beside", "renamed")}


def test_names_are_found() -> None:
    caught = play(ALGORITHMS[4], CODECS[0])  # raw data carries the names of its tasks
    assert set(leaked_names(caught)) == {task.encode() for task in caught.federation.tasks}


def test_pairs_are_two_consecutive_numbers() -> None:
    found = pairs(np.array([0.0, 0.0, 1.5, 2.5], np.float32))
    assert found == {struct.pack("<2f", 0.0, 1.5), struct.pack("<2f", 1.5, 2.5)}
