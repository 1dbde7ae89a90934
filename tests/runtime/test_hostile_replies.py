"""A reply is hostile until it is checked: whatever one node sends, the run goes on, with the model of the others.

Node 1 alters its reply of round 2 (clients 0, 2, 4), or its roster. The model after the run must be, bit for bit, the
one of a run in which the clients whose update cannot be used sent none; every rejection is named and counted.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, MetricRecord

from fedmtl.algorithms import IFCA, FedU, GraphStructured, Mocha, Pooled, Transfer
from fedmtl.codecs import EF21, FP16, STC, Chain, Dense, ErrorFeedback, Int8, PerLayer, TopK
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise
from fedmtl.data import Split
from fedmtl.protocol.metrics_report import raw_data_packet, read_raw_data
from fedmtl.protocol.packets import DATA as RAW
from fedmtl.protocol.packets import DOWN, REPORT
from fedmtl.protocol.rejections import KINDS
from fedmtl.runtime.flower.messages import PACKETS, REPLIES, ROSTER, TOTALS
from fedmtl.runtime.local import node_context
from fedmtl.runtime.node import _hosted, host
from tests.cases import case
from tests.conftest import ALL_ALGORITHMS, tiny_model
from tests.runtime.hostile import (
    OTHERS,
    OWN,
    Alter,
    Ran,
    both,
    edit,
    experiment,
    filled,
    ints,
    play,
    put,
    put_bytes,
    report,
    reseal,
    silent,
    split,
    update,
)
from tests.server.toy import DATA, TRUNK_NUMBERS

ESC = "\x1b[2J\x1b[31m\r\n\u202e"
"""Clears a terminal, colours it, begins a new line, turns the direction of writing."""


def without(clients: tuple[int, ...]) -> str:
    """The digest of the model where these clients of node 1 sent no update in round 2."""
    return silent_model(experiment().rounds, (clients,))


@cache
def silent_model(rounds: int, lost: tuple[tuple[int, ...], ...]) -> str:
    """The digest of the model where these clients of node 1 sent no update in round 2, 3 and so on."""
    quiet = {str(t): silent(*map(OWN.index, clients)) for t, clients in enumerate(lost, start=2) if clients}
    return play(experiment(rounds=rounds), replies=quiet).model


class Case(NamedTuple):
    alter: Alter
    kind: str
    lost: list[int]
    """Clients whose update does not count."""
    unmeasured: list[int]
    """Clients whose report does not count."""


def message(alter: Alter, kind: str = "message") -> Case:
    """A reply of which nothing can be used."""
    return Case(alter, kind, OWN, OWN)


def upload(change: Callable[[bytes], bytes], kind: str) -> Case:
    """Client 0's update cannot be used."""
    return Case(update(change), kind, [0], [])


def sums(values: Callable[[np.ndarray], Any]) -> Case:
    """Client 0's report cannot be used."""
    return Case(report(values), "metrics", [], [0])


def totals(vector: float = 7.0, **changes: Any) -> Alter:
    def alter(content: Any) -> None:
        updates, reports = split(content)
        record = {
            "tasks": ["binary_1,multiclass_0"],
            "clients": [ints(0)],
            "vectors": [np.full(TRUNK_NUMBERS, vector, "<f8").tobytes()],
            "num_examples": [10.0],
        }
        content[TOTALS] = ConfigRecord(record | changes)
        put_bytes(content, b"".join(reports))

    return alter


def stolen(content: Any) -> None:
    """Node 1 replies for the clients of node 2 as well, with numbers of its own."""
    updates, reports = split(content)
    seconds = content[REPLIES]["seconds"]
    content[REPLIES]["clients"] = ints(*OWN, *OTHERS)
    content[REPLIES]["seconds"] = seconds + bytes(16)
    bad = [reseal(packet, filled(packet, 0.5)) for packet in updates[:2]]
    put(content, updates + bad, reports + reports[:2])


def twice(content: Any) -> None:
    """A second reply of client 0, before the first: the last counts."""
    updates, reports = split(content)
    content[REPLIES]["clients"] = ints(0, *OWN)
    content[REPLIES]["seconds"] = bytes(8) + content[REPLIES]["seconds"]
    put(content, [reseal(updates[0], filled(updates[0], 0.5)), *updates], [reports[0], *reports])


def stranger(content: Any) -> None:
    updates, reports = split(content)
    content[REPLIES]["clients"] = ints(*OWN, 10**12)
    content[REPLIES]["seconds"] = content[REPLIES]["seconds"] + bytes(8)
    put(content, [*updates, updates[0]], [*reports, reports[0]])


def wrapping(content: Any) -> None:
    """Lengths of which the sum in int64 wraps round to the 64 bytes that came."""
    half, far = 2**63 - 2**31, 2**32
    content[REPLIES]["clients"] = ints(0, 2)
    content[REPLIES]["update"] = ints(half, half)
    content[REPLIES]["report"] = ints((64 + far) // 2, (64 + far) // 2)
    content[REPLIES]["seconds"] = bytes(16)
    put_bytes(content, bytes(64))


def array(**changes: Any) -> Alter:
    def alter(content: Any) -> None:
        old = content[PACKETS][PACKETS]
        data = bytes(old.data)
        values = {"dtype": "uint8", "shape": (len(data),), "stype": "fedmtl.packets", "data": data} | changes
        content[PACKETS][PACKETS] = Array(**values)

    return alter


def times(*values: float) -> Alter:
    return edit("seconds", np.array(values, "<f8").tobytes())


def poisoned(content: Any) -> None:
    """Every update of the node is large and finite."""
    updates, reports = split(content)
    put(content, [reseal(packet, filled(packet, 1e6)) if packet else b"" for packet in updates], reports)


def add(name: str, record: Any) -> Alter:
    return lambda content: content.__setitem__(name, record)


HUGE = 20_000_000

CASES = {
    # Records
    "no packets": message(lambda c: c.pop(PACKETS)),
    "no replies": message(lambda c: c.pop(REPLIES)),
    "nothing": message(lambda c: c.clear()),
    "an error": message(lambda c: Error(2, "ValueError [failed]"), "error"),
    "an error with escape codes": message(lambda c: Error(2, ESC + "A" * HUGE), "error"),
    "an error without a reason": message(lambda c: Error(0), "error"),
    "packets are metrics": message(add(PACKETS, MetricRecord({"a": 1.0}))),
    "replies are arrays": message(add(REPLIES, ArrayRecord({}))),
    "one record more": message(add("more", ConfigRecord({"a": 1})), "unasked"),
    "a record named by escape codes": message(add(ESC, ConfigRecord({})), "unasked"),
    "the server's own record": message(add("requests", ConfigRecord({"train": b"\1"})), "unasked"),
    # The array
    "no array": message(lambda c: c[PACKETS].pop(PACKETS)),
    "another array": message(lambda c: c[PACKETS].__setitem__("b", Array("uint8", (1,), "fedmtl.packets", b"a"))),
    "float64": message(array(dtype="float64")),
    "another shape": message(array(shape=(2**62,))),
    "a shape of two": message(array(shape=(2, 2))),
    "a negative shape": message(array(shape=(-1,))),
    "no bytes": message(array(data=b"", shape=(0,))),
    "20 MB of zeros": message(lambda c: put_bytes(c, bytes(HUGE))),
    # Columns
    "another round": message(edit("round", 1), "round"),
    "round is a text": message(edit("round", "2")),
    "round is true": message(edit("round", True)),
    "round is 2.0": message(edit("round", 2.0)),
    "no round": message(lambda c: c[REPLIES].pop("round")),
    "no clients": message(lambda c: c[REPLIES].pop("clients")),
    "clients are a list": message(edit("clients", [0, 2, 4])),
    "a third of a client": message(edit("clients", lambda old: old[:-3])),
    "one client more": message(edit("clients", lambda old: old + ints(6))),
    "ten million clients": message(edit("clients", bytes(8 * 10_000_000))),
    "lengths that wrap": message(wrapping),
    "negative lengths": message(edit("update", ints(-1, -1, -1))),
    "the least lengths": message(edit("report", ints(-(2**63), 0, 0))),
    "the largest lengths": message(edit("report", ints(2**63 - 1, 2**63 - 1, 2))),
    "lengths of a byte more": message(edit("update", lambda old: ints(np.frombuffer(old, "<i8")[0] + 1) + old[8:])),
    "seconds are missing": message(lambda c: c[REPLIES].pop("seconds")),
    # Who, and what was asked
    "for clients of the other node": Case(stolen, "owner", [], []),
    "an unknown client": Case(stranger, "unasked", [], []),
    "twice": Case(twice, "duplicate", [], []),
    "totals": message(totals(), "unasked"),
    "totals that are not finite": message(totals(np.nan), "unasked"),
    "totals of other types": message(totals(tasks=3, clients="x", vectors=1, num_examples=0), "unasked"),
    # Updates
    "a bit": upload(lambda p: p[:50] + bytes([p[50] ^ 1]) + p[51:], "packet"),
    "cut": upload(lambda p: p[:-7], "packet"),
    "headless": upload(lambda p: p[:31], "packet"),
    "empty": upload(lambda p: b"", "packet"),
    "noise": upload(lambda p: np.random.default_rng(0).bytes(len(p)), "packet"),
    "a broadcast": upload(lambda p: reseal(p, kind=DOWN), "packet"),
    "a report": upload(lambda p: reseal(p, kind=REPORT), "packet"),
    "raw data": upload(lambda p: reseal(p, kind=RAW), "packet"),
    "kind 200": upload(lambda p: reseal(p, kind=200), "packet"),
    "of round 1": upload(lambda p: reseal(p, round=1), "packet"),
    "of another experiment": upload(lambda p: reseal(p, digest=b"12345678"), "packet"),
    "a number less": upload(lambda p: reseal(p, p[32:-4]), "packet"),
    "2 MB": upload(lambda p: reseal(p, bytes(2_000_000)), "size"),
    "NaN": upload(lambda p: reseal(p, filled(p, np.nan)), "values"),
    "one infinity": upload(lambda p: reseal(p, np.float32(np.inf).tobytes() + p[36:]), "values"),
    "3e38": upload(lambda p: reseal(p, filled(p, 3e38)), "norm"),
    "-3e38": upload(lambda p: reseal(p, filled(p, -3e38)), "norm"),
    "1e6": upload(lambda p: reseal(p, filled(p, 1e6)), "norm"),
    "one number of 1e9": upload(lambda p: reseal(p, np.float32(1e9).tobytes() + p[36:]), "norm"),
    "1e6 from all clients of the node": Case(poisoned, "norm", OWN, []),
    "weight 1e15": upload(lambda p: reseal(p, weight=1e15), "weight"),
    "weight 9, of 8 examples": upload(lambda p: reseal(p, weight=9.0), "weight"),
    "weight infinity": upload(lambda p: reseal(p, weight=np.inf), "weight"),
    "weight NaN": upload(lambda p: reseal(p, weight=np.nan), "weight"),
    "weight 0": upload(lambda p: reseal(p, weight=0.0), "weight"),
    "weight -255": upload(lambda p: reseal(p, weight=-255.0), "weight"),
    # Reports: client 0 owns binary_1 and multiclass_0, and sends [n, right] of each
    "sums of NaN": sums(lambda old: np.nan),
    "sums of infinity": sums(lambda old: np.inf),
    "sums of -5": sums(lambda old: -5.0),
    "sums of 1e9": sums(lambda old: 1e9),
    "more right than examples": sums(lambda old: [*old[:3], old[2] + 1]),
    "half an example": sums(lambda old: [3.5, *old[1:]]),
    "half a right one": sums(lambda old: [old[0], 0.5, *old[2:]]),
    "more examples than there are": sums(lambda old: [5.0, *old[1:]]),
    "negative right ones": sums(lambda old: [old[0], -1.0, *old[2:]]),
    "a report of noise": Case(lambda c: put(c, split(c)[0], [b"x" * 64, *split(c)[1][1:]]), "packet", [], [0]),
    "a report of a megabyte": Case(
        lambda c: put(c, split(c)[0], [bytes(1_000_000), *split(c)[1][1:]]), "size", [], [0]
    ),
    # Times
    "times of NaN": Case(times(np.nan, np.nan, np.nan), "seconds", [], []),
    "negative times": Case(times(-1.0, -np.inf, 0.0), "seconds", [], []),
    "times of years": Case(times(1e9, np.inf, 0.0), "seconds", [], []),
    "phases of years": Case(edit("phase_seconds", [1e9] * 5), "seconds", [], []),
    "phases of NaN": Case(edit("phase_seconds", [float("nan")] * 5), "seconds", [], []),
    # Texts
    "a problem of infinity": message(both(edit("troubled", [float("inf")]), edit("problems", ["x"])), "text"),
    "a problem of a text": message(both(edit("troubled", ["0"]), edit("problems", ["x"])), "text"),
    "a problem that is a number": message(both(edit("troubled", [0]), edit("problems", [7])), "text"),
    "problems without clients": message(edit("problems", ["x"]), "text"),
    "troubled is no list": message(edit("troubled", 3)),
    "a million problems": message(both(edit("troubled", [0] * 10**6), edit("problems", ["x"] * 10**6)), "text"),
    "problems of others": Case(both(edit("troubled", [1, 10**9]), edit("problems", ["x", "y"])), "owner", [], []),
    "phases of other names": message(both(edit("phases", [ESC]), edit("phase_seconds", [1.0])), "text"),
    "phases of numbers": message(both(edit("phases", [1.0]), edit("phase_seconds", [1.0])), "text"),
    "a thousand phases": message(both(edit("phases", ["train"] * 1000), edit("phase_seconds", [1.0] * 1000)), "text"),
    "phases of no time": message(edit("phase_seconds", ["a"] * 5), "text"),
}


def check_lines(ran: Ran) -> None:
    """No warning is long, or holds what a terminal would act on."""
    for line in ran.warnings:
        assert len(line) < 1000 and line.isprintable(), repr(line[:2000])


BLOCK = 8
"""Most cases of one run: each alters the reply of a round of its own, from round 2 on."""

_KINDS = {kind: [name for name, case in CASES.items() if case.kind == kind] for kind in KINDS}
BLOCKS = {
    f"{kind} {at // BLOCK}": names[at : at + BLOCK]
    for kind, names in _KINDS.items()
    for at in range(0, len(names), BLOCK)
}
"""Cases of one kind, which the run then counts alone."""


def test_every_case_is_in_a_block() -> None:
    assert sorted(name for names in BLOCKS.values() for name in names) == sorted(CASES)


@pytest.mark.parametrize("block", BLOCKS)
def test_altered_replies_cost_their_sender_alone_and_are_named(block: str) -> None:
    cases = {t: (name, CASES[name]) for t, name in enumerate(BLOCKS[block], start=2)}
    chosen = experiment(rounds=len(cases) + 2)
    ran = play(chosen, replies={str(t): each.alter for t, (_, each) in cases.items()})
    assert ran.model == silent_model(chosen.rounds, tuple(tuple(each.lost) for _, each in cases.values()))
    assert not ran.problems[0] and not ran.problems[len(cases) + 1]
    assert ran.measured(len(cases) + 1) == set(range(5))
    assert set(ran.rejected) == {each.kind for _, each in cases.values()}
    for t, (name, each) in cases.items():
        with case(name):
            assert list(ran.problems[t - 1]) == each.lost
            assert ran.measured(t - 1) == set(range(5)) - set(each.unmeasured)
            begin = f"round {t}: "
            named = [
                line for line in ran.warnings if line.startswith(begin) and "left out" in line and "node 1" in line
            ]
            assert named, ran.warnings
            for client in {*each.lost, *each.unmeasured}:
                assert any(f"client {client} " in line for line in named) or each.lost == OWN
    check_lines(ran)


def test_an_honest_run_leaves_nothing_out() -> None:
    ran = play()
    assert ran.rejected == {} and ran.warnings == [] and ran.model == without(())


@pytest.mark.parametrize("algorithm", [one for one in ALL_ALGORITHMS if not isinstance(one, Mocha)], ids=repr)
def test_no_honest_client_meets_a_bound(algorithm: Any) -> None:
    """Any algorithm, over a lossy codec where it allows one; MOCHA, on another model, is a test of its own. Six
    clients, and ten where the algorithm names client 9."""
    clients = 10 if isinstance(algorithm, (FedU, GraphStructured, Transfer)) else 6
    codec = Int8() if not algorithm.traits.needs_every_upload else Dense()
    model = tiny_model(algorithm)
    chosen = experiment(
        algorithm=algorithm, model=model, up_codec=codec, data=replace(DATA, clients=clients), rounds=2, batch_size=8
    )
    ran = play(chosen)
    assert ran.rejected == {} and ran.warnings == [] and ran.measured(2) == set(range(clients))


def test_no_honest_client_of_mocha_meets_a_bound() -> None:
    data = replace(DATA, kind="binary", tasks=1, tasks_per_client=1)
    ran = play(experiment(algorithm=Mocha(), model=tiny_model(Mocha()), data=data))
    assert ran.rejected == {} and ran.warnings == []


@pytest.mark.parametrize("examples", [None, np.ones((5, 2), np.int64), np.full((5, 2), 5)], ids=["none", "1", "5"])
def test_honest_clients_meet_no_bound_where_the_server_holds_stand_ins(examples: Any) -> None:
    """Devices then have 4 to 8 training and 4 test examples, of which the server does not know."""
    ran = play(examples=examples)
    assert ran.rejected == {} and ran.model == without(())
    heavy = play(examples=examples, replies={"2": update(lambda p: reseal(p, weight=1e15))})
    assert heavy.model == without((0,)) and heavy.rejected == {"weight": 1}
    forged = play(examples=examples, replies={"2": report(lambda old: 1e9)})
    assert forged.model == without(()) and forged.rejected == {"metrics": 1}


CHAIN = Chain(ClipNorm(10.0), GaussianNoise(0.001), ErrorFeedback(TopK(0.25)))
LAYERS = PerLayer({"*bias": Int8(block=8)}, default=ErrorFeedback(TopK(0.25)))


@pytest.mark.parametrize("codec", [FP16(), Int8(), ErrorFeedback(TopK(0.25)), EF21(STC(0.25)), CHAIN, LAYERS], ids=repr)
@pytest.mark.parametrize("body", ["zeros", "ones", "noise"])
def test_bytes_that_a_codec_did_not_make_cost_their_sender_alone(codec: Any, body: str) -> None:
    make = {"zeros": bytes, "ones": lambda n: b"\xff" * n, "noise": np.random.default_rng(1).bytes}[body]
    chosen = experiment(up_codec=codec)
    ran = play(chosen, replies={"2": update(lambda p: reseal(p, make(len(p) - 32)))})
    largest = max(float(value.abs().max()) for value in ran.result.state.values())
    assert largest < 3000  # a thousand times the model, at most, of one client of five
    if list(ran.problems[1]) != [0]:
        assert (type(codec), body) in {(FP16, "zeros"), (FP16, "noise")}  # they are numbers
    check_lines(ran)


def test_a_text_of_a_node_is_cut_and_escaped() -> None:
    ran = play(replies={"2": both(edit("troubled", [0]), edit("problems", [ESC + "A" * 10_000_000]))})
    assert ran.model == without((0,))
    (line,) = ran.warnings
    assert line.startswith("round 2: client 0 left out: \\x1b[2J\\x1b[31m\\r\\n\\u202eAAA") and line.endswith(
        "[node 1]"
    )
    check_lines(ran)


def test_a_node_of_which_every_reply_is_altered_does_not_end_the_run() -> None:
    """Also where a round's cohort lives on that node alone: the model stays as it is, and others train later."""
    chosen = experiment(cohort=1, rounds=6)
    ran = play(chosen, replies={str(t): poisoned for t in range(1, 7)})
    assert len(ran.problems) == 7
    assert {client for problems in ran.problems for client in problems} <= set(OWN)
    assert any("the model stays as it is" in line for line in ran.warnings)


def test_a_run_of_which_all_nodes_send_nothing_usable_is_an_error() -> None:
    chosen = experiment(max_norm=1e-9)
    with pytest.raises(RuntimeError, match="No client of round 1 sent an update that could be used.*max_norm"):
        play(chosen)


@pytest.mark.parametrize(("settings", "lost"), [({}, [0]), ({"max_weight": 0.0}, []), ({"max_weight": 3.0}, [])])
def test_the_bound_on_weights_is_a_setting(settings: dict[str, Any], lost: list[int]) -> None:
    ran = play(experiment(**settings), replies={"2": update(lambda p: reseal(p, weight=9.0))})
    assert list(ran.problems[1]) == lost


@pytest.mark.parametrize(("settings", "lost"), [({}, [0]), ({"max_norm": 0.0}, []), ({"max_norm": 1e9}, [])])
def test_the_bound_on_norms_is_a_setting(settings: dict[str, Any], lost: list[int]) -> None:
    ran = play(experiment(**settings), replies={"2": update(lambda p: reseal(p, filled(p, 1e6)))})
    assert list(ran.problems[1]) == lost


def test_what_only_an_algorithm_can_find_wrong_is_found_by_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The algorithm fails where a client's choice is all zeros but one of -1: finite, short, and no choice."""
    real = IFCA.aggregate

    def fragile(self: IFCA, server: Any, uploads: Any, ctx: Any) -> Any:
        uploads = list(uploads)
        if any(upload.payload["choice"]["turn"].min() < 0 for _, upload in uploads):
            raise IndexError("no such cluster")
        return real(self, server, uploads, ctx)

    monkeypatch.setattr(IFCA, "aggregate", fragile)
    chosen = experiment(algorithm=IFCA(clusters=2))
    numbers = 2  # the record "choice" comes before "model"

    def change(packet: bytes) -> bytes:
        return reseal(packet, np.array([0.0, -1.0], "<f4").tobytes() + packet[32 + 4 * numbers :])

    ran = play(chosen, replies={"2": update(change)})
    assert list(ran.problems[1]) == OWN and ran.rejected == {"update": 3}
    assert ran.model == play(chosen, replies={"2": silent(0, 1, 2)}).model


# Rosters


def roster(**changes: Any) -> Alter:
    return both(*(edit(key, value, ROSTER) for key, value in changes.items()))


ROSTERS = {
    # name -> the alteration, the kind, clients that stay out of the run
    "missing": (lambda c: c.pop(ROSTER), "message", OWN),
    "metrics": (add(ROSTER, MetricRecord({"a": 1.0})), "message", OWN),
    "one record more": (add("more", ConfigRecord({})), "unasked", OWN),
    "an unknown client": (roster(clients=lambda o: o + ints(10**12), owns=lambda o: o + ints(0)), "roster", []),
    "negative clients": (roster(clients=ints(-1, -2, -3)), "roster", OWN),
    "the largest client": (roster(clients=ints(0, 2, 2**63 - 1)), "roster", [4]),
    "clients of others too": (
        roster(clients=lambda o: o + ints(*OTHERS), owns=lambda o: o + ints(0, 0)),
        "roster",
        [],
    ),
    "a client twice": (roster(clients=lambda o: o + o[:8], owns=lambda o: o + o[:8]), "roster", []),
    "unknown tasks": (roster(tasks=lambda o: ["nosuch"] * len(o)), "roster", OWN),
    "escape codes": (roster(tasks=lambda o: [ESC + "A" * HUGE] * len(o)), "roster", OWN),
    "empty tasks": (roster(tasks=lambda o: [""] * len(o)), "roster", OWN),
    "tasks in another order": (roster(tasks=lambda o: [",".join(t.split(",")[::-1]) for t in o]), "roster", OWN),
    "tasks are numbers": (roster(tasks=lambda o: [1] * len(o)), "roster", OWN),
    "tasks are a text": (roster(tasks="binary_1"), "message", OWN),
    "no tasks": (lambda c: c[ROSTER].pop("tasks"), "message", OWN),
    "sets beyond the list": (roster(owns=ints(0, 1, 99)), "roster", OWN),
    "negative sets": (roster(owns=ints(-1, -1, -1)), "roster", OWN),
    "one set less": (roster(owns=lambda o: o[:-8]), "message", OWN),
    "clients are a list": (roster(clients=[0, 2, 4]), "message", OWN),
    "a million clients": (
        roster(clients=np.arange(10, 10**6 + 10).tobytes(), owns=bytes(8 * 10**6)),
        "roster",
        OWN,
    ),
    "a million sets": (roster(tasks=["a"] * 10**6), "roster", OWN),
}


@pytest.mark.parametrize("name", ROSTERS)
def test_an_altered_roster_costs_its_sender_alone_and_is_named(name: str) -> None:
    """Entries that do not fit are left out; clients without a node stay out, and the run of the others goes on."""
    alter, kind, out = ROSTERS[name]
    ran = play(roster=alter)
    trained = set(range(5)) - set(out)
    assert ran.measured(2) == trained and ran.measured(0) == trained
    assert not any(ran.problems) and kind in ran.rejected
    assert any("node 1" in line and "roster" in line for line in ran.warnings)
    assert any(str(out) in line and "The run goes on without them" in line for line in ran.warnings) == bool(out)
    assert ran.model == (without(()) if not out else ran.model)
    check_lines(ran)


def test_of_two_nodes_that_claim_a_client_the_first_keeps_it_and_the_claim_is_named() -> None:
    """Node 2 claims clients 0 and 2 with their right tasks; node 1, asked first, keeps them."""

    def claim(content: Any) -> None:
        config = content[ROSTER]
        sets = [*config["tasks"], "binary_1,multiclass_0", "multilabel_3,regression_2"]
        config["clients"], config["owns"] = config["clients"] + ints(0, 2), config["owns"] + ints(2, 3)
        config["tasks"] = sets

    ran = play(roster=claim, bad=2)
    assert ran.model == without(())
    for client in (0, 2):
        assert any(f"claim of client {client} left out: node 1 hosts it already" in line for line in ran.warnings)


def test_without_a_rejected_roster_missing_clients_are_the_error_that_they_were() -> None:
    def fewer(content: Any) -> None:
        content[ROSTER]["clients"], content[ROSTER]["owns"] = ints(0, 2), content[ROSTER]["owns"][:16]

    with pytest.raises(RuntimeError, match=r"After 0.3 s, 2 node\(s\) host 4 client\(s\); missing: \[4\]"):
        play(roster=fewer)


# The other way: a node does only what its experiment allows


def test_a_node_sends_raw_data_for_a_central_algorithm_alone() -> None:
    """A server, or whoever writes to it, sets the flag; the node refuses, and says so of each client."""

    def ask(content: Any) -> None:
        count = len(content["requests"]["clients"]) // 8
        content["requests"]["raw_data"], content["requests"]["train"] = b"\1" * count, bytes(count)

    settings = experiment(rounds=1)
    with pytest.raises(RuntimeError, match="raw data was asked for, and the node's experiment sends none"):
        play(settings, ask=ask)


def test_raw_data_leaves_a_central_node_in_the_first_round_alone() -> None:
    sent: list[Any] = []

    def ask(content: Any) -> None:
        count = len(content["requests"]["clients"]) // 8
        content["requests"]["raw_data"] = b"\1" * count
        sent.append(content)

    ran = play(experiment(algorithm=Pooled(epochs=1)), ask=ask)
    assert len(sent) > 2 and ran.measured(0) == set(range(5))
    assert ran.measured(1) == set()  # requests that ask for what is not allowed are not worked on at all


def test_altered_raw_data_costs_its_clients_alone() -> None:
    chosen = experiment(algorithm=Pooled(epochs=1))
    ran = play(chosen, replies={"1": update(lambda p: reseal(p, bytes(len(p) // 2), kind=RAW))})
    assert list(ran.problems[0]) == [0] and ran.rejected == {"packet": 1}
    assert ran.measured(3) == set(range(5))


def with_data(packet: bytes, times: int = 1, without: str = "", batch_size: int = 4) -> bytes:
    """A client's own examples, several times over, or without a task's labels."""
    chosen = experiment(algorithm=Pooled(epochs=1), batch_size=batch_size)
    plan = chosen.make_plan(chosen.load())
    train = read_raw_data(plan, 1, packet)
    labels = {task: np.concatenate([y] * times) for task, y in train.y.items() if task != without}
    return raw_data_packet(plan, 1, Split(np.concatenate([train.x] * times), labels))


@pytest.mark.parametrize("examples", ["known", None])
def test_raw_data_are_no_larger_than_a_client_can_have(examples: Any) -> None:
    """As weights: the number that the server knows, or a thousand times the typical one. Any size was taken."""
    altered = {"1": update(lambda p: with_data(p, 2 if examples else 2000, batch_size=4096))}
    made: Any = {"algorithm": Pooled(epochs=1), "batch_size": 4096}
    ran = play(experiment(**made), examples, replies=altered)
    assert list(ran.problems[0]) == [0] and ran.rejected == {"size": 1}
    assert re.search("raw data hold .* examples, and it can have .*max_weight", ran.problems[0][0])
    assert ran.measured(3) == set(range(5))
    free = play(experiment(max_weight=0.0, rounds=1, **made), examples, replies=altered)
    assert free.rejected == {}


def test_raw_data_have_the_labels_of_their_clients_tasks() -> None:
    ran = play(
        experiment(algorithm=Pooled(epochs=1)), replies={"1": update(lambda p: with_data(p, without="multiclass_0"))}
    )
    assert list(ran.problems[0]) == [0] and ran.rejected == {"packet": 1}


def bomb(packet: bytes) -> bytes:
    """An archive of 100 MB of zeros, deflated to 100 kB."""
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.zeros((10**6, 25), np.float32))
    return reseal(packet, buffer.getvalue(), kind=RAW)


def test_an_archive_is_not_inflated() -> None:
    chosen = experiment(algorithm=Pooled(epochs=1))
    plan, caught = chosen.make_plan(chosen.load()), []

    def alter(content: Any) -> None:
        caught.append(bomb(split(content)[0][0]))

    play(chosen, replies={"1": alter})
    with pytest.raises(ValueError, match="stored as they are"):
        read_raw_data(plan, 1, caught[0])


@pytest.mark.parametrize("round", [0, -1, 5, 2**40])
def test_a_node_refuses_rounds_that_its_experiment_does_not_have(round: int) -> None:
    with pytest.raises(RuntimeError, match=r"Refused \[request\]"):
        play(experiment(rounds=3), ask=edit("round", round, "requests"))


@pytest.mark.parametrize("version", [-1, 3, 4, 2**40])
def test_a_node_refuses_to_train_on_versions_that_its_experiment_does_not_train_on(version: int) -> None:
    """Three rounds make versions 1, 2 and 3, and train on 0, 1 and 2."""
    with pytest.raises(RuntimeError, match=r"Refused \[request\]"):
        play(experiment(rounds=3), ask=edit("version", version, "requests"))


def test_a_node_refuses_clients_that_it_does_not_host() -> None:
    def ask(content: Any) -> None:
        clients = np.frombuffer(content["requests"]["clients"], "<i8") + 100
        content["requests"]["clients"] = clients.tobytes()

    with pytest.raises(RuntimeError, match="No client of round 1"):
        play(ask=ask)


SECRET = "/data/ward-7/diagnosis=melanoma.csv"


@pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError, FileNotFoundError, MemoryError, AssertionError])
def test_the_text_of_an_error_stays_on_its_node(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Class and code reach the server; the text, a path with a diagnosis, is in the node's own log."""
    from fedmtl.client.client_pool import ClientPool
    from fedmtl.protocol.requests import Requests

    handle = ClientPool.handle

    def failing(self: ClientPool, requests: Requests, *arguments: Any) -> Any:
        if requests.exchange.number == 2 and 0 in self.clients:
            raise error(SECRET)
        return handle(self, requests, *arguments)

    monkeypatch.setattr(ClientPool, "handle", failing)
    chosen = experiment()
    grids: list[Any] = []

    def keep(content: Any) -> None: ...

    from tests.runtime import hostile

    class Kept(hostile.Wire):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            grids.append(self)

    monkeypatch.setattr(hostile, "Wire", Kept)
    ran = play(chosen, ask=keep)
    assert [sorted(problems) for problems in ran.problems] == [[], OWN, [], []] and ran.rejected == {"error": 1}
    failed = [message for message in grids[0].seen if message.has_error()]
    assert len(failed) == 1 and error.__name__ in failed[0].error.reason
    for message in grids[0].seen:
        assert SECRET not in repr(message.error if message.has_error() else message.content)
    assert SECRET in caplog.text and any(error.__name__ in line and "node 1" in line for line in ran.warnings)


def test_clients_that_stay_out_are_not_waited_for_when_a_node_comes_back_under_another_id() -> None:
    """Node 1's roster is bad; node 2 is known as node 7 from round 2 on. Two clients train in every round."""
    from tests.runtime import hostile

    class Moved(hostile.Wire):
        def get_node_ids(self) -> list[int]:
            if len(self.seen) > 3 and 2 in self.contexts:  # two rosters, and the replies of two rounds
                host(self.run_id, 7, _hosted[self.run_id, 2])
                self.contexts[7] = node_context(self.run_id, 7)
                del self.contexts[2]
            return super().get_node_ids()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hostile, "Wire", Moved)
        ran = play(roster=lambda content: content.pop(ROSTER))
    assert ran.measured(3) == set(OTHERS) and not any(ran.problems)
