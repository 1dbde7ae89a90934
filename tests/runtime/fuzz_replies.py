"""Random mutations of whole Flower replies against a round of the server.

    python -m tests.runtime.fuzz_replies 20000 [SEED]
    python -m tests.runtime.fuzz_replies packet 300          # or packets, report, column, text, totals: megabytes

One round is opened and answered honestly; each mutation changes the reply of node 1 in one to four places: records,
keys, types, values, bytes, lengths, headers, bodies. The server closes the round from where it was before it. For each:
no error, within two seconds; the clients of node 2 trained; the model finite and within the bounds of a client's weight
and norm; a client of node 1 that is not among the trained is a problem with a text, and what is left out is counted.
"""

import copy
import json
import logging
import resource
import sys
import time
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fedmtl.codecs import EF21, STC, Chain, ErrorFeedback, Int8, PerLayer, TopK
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise
from fedmtl.core.trees import all_finite
from fedmtl.protocol.ledger import Ledger
from fedmtl.runtime.flower.discovery import node_map_of
from fedmtl.runtime.flower.messages import PACKETS, REPLIES
from fedmtl.runtime.flower.strategy import FedMTL
from fedmtl.server.at_server import placement_of
from fedmtl.server.influence import Bounds
from fedmtl.server.server import Server
from tests.runtime.hostile import OTHERS, OWN, Wire, experiment, put, put_bytes, reseal, split
from tests.server.toy import rounds_of

SLOW = 2.0
"""Seconds that no mutation may take."""


def strange(rng: np.random.Generator) -> Any:
    """A value that Flower's records can hold."""
    values = (
        lambda: int(rng.integers(-5, 5)),
        lambda: int(rng.integers(-(2**63), 2**63 - 1)),
        lambda: 2**63 - 1,
        lambda: -(2**63),
        lambda: 10**30,
        lambda: float(rng.normal()),
        lambda: float(rng.choice([np.nan, np.inf, -np.inf, 1e308, -0.0])),
        lambda: True,
        lambda: "",
        lambda: "A" * int(rng.integers(0, 20_000)),
        lambda: "\x1b[2J\x00\n\u202e\ud800" * 5,
        lambda: rng.bytes(int(rng.integers(0, 200))),
        lambda: bytes(8 * int(rng.integers(0, 5_000))),
        lambda: [],
        lambda: [int(v) for v in rng.integers(-3, 9, int(rng.integers(1, 50)))],
        lambda: [float(v) for v in rng.normal(size=int(rng.integers(1, 50)))],
        lambda: ["x" * int(rng.integers(0, 500))] * int(rng.integers(1, 50)),
        lambda: [rng.bytes(8)] * int(rng.integers(1, 50)),
    )
    return values[rng.integers(len(values))]()


def spoiled(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes that are flipped, cut, longer, zeros, noise, or hold an extreme number."""
    how, raw = int(rng.integers(7)), bytearray(data)
    if how == 0 and raw:
        for place in rng.integers(len(raw), size=int(rng.integers(1, 9))):
            raw[int(place)] ^= 1 << int(rng.integers(8))
    elif how == 1:
        raw = raw[: int(rng.integers(len(raw) + 1))]
    elif how == 2:
        raw += rng.bytes(int(rng.integers(1, 100)))
    elif how == 3:
        raw = bytearray(len(raw))
    elif how == 4:
        raw = bytearray(rng.bytes(len(raw)))
    elif how == 5 and len(raw) >= 8:
        at = 8 * int(rng.integers(len(raw) // 8))
        number = int(rng.choice(np.array([2**63 - 1, -(2**63), -1, 0, 2**62, 2**32, 2**31, 7], np.int64)))
        raw[at : at + 8] = np.array([number], "<i8").tobytes()
    elif how == 6 and len(raw) >= 8:
        at = 8 * int(rng.integers(len(raw) // 8))
        raw[at : at + 8] = np.array([rng.choice([np.nan, np.inf, -1.0, 1e300])], "<f8").tobytes()
    return bytes(raw)


def mutate(content: Any, rng: np.random.Generator) -> str:
    """Change a reply in one place, and say how."""
    names = list(content)
    how = int(rng.integers(13))
    name = names[rng.integers(len(names))] if names else ""
    config, packets = content.get(REPLIES), content.get(PACKETS)
    if how == 0 and name:
        del content[name]
        return f"no {name}"
    if how == 1:
        record = (ConfigRecord({"a": 1}), MetricRecord({"a": 1.0}), ArrayRecord({}))[rng.integers(3)]
        target = [name or "x", "totals", "requests", "roster", "\x1b[2J" * 50][rng.integers(5)]
        content[target] = record
        return f"{target[:10]!r} is a {type(record).__name__}"
    if isinstance(config, ConfigRecord) and how in (2, 3, 4, 5):
        key = [*config, "more"][rng.integers(len(config) + 1)]
        if how == 2:
            config.pop(key, None)
        elif how == 3 or not isinstance(config.get(key), bytes):
            config[key] = strange(rng)
        else:
            config[key] = spoiled(config[key], rng)  # pyright: ignore[reportArgumentType]
        return f"{key} ({how})"
    if isinstance(packets, ArrayRecord) and PACKETS in packets:
        if how in (6, 7):
            put_bytes(content, spoiled(bytes(packets[PACKETS].data), rng))
            return "bytes"
        if how == 8:
            data = bytes(packets[PACKETS].data)
            dtype = ["uint8", "float64", "", "object", "\x1b[2J"][rng.integers(5)]
            shape = [(len(data),), (), (-1,), (2**62, 4), (len(data), 1), (0,)][rng.integers(6)]
            packets[PACKETS] = Array(dtype, shape, ["fedmtl.packets", "numpy.ndarray"][rng.integers(2)], data)
            return "array"
        try:
            updates, reports = split(content)
        except (KeyError, TypeError, ValueError, AttributeError):
            return "nothing"
        kind = updates if how != 12 and updates else reports
        if kind:
            row = int(rng.integers(len(kind)))
            packet = kind[row]
            if how == 9 or len(packet) < 32:
                kind[row] = spoiled(packet, rng)
            else:
                weight = float(rng.choice([0, -1, 1, 4, 1e15, np.nan, np.inf])) if rng.integers(2) else None
                body = spoiled(packet[32:], rng) if rng.integers(3) else None
                if body is not None and rng.integers(3) == 0:
                    scale = 10.0 ** float(rng.uniform(-40, 38))
                    body = (np.ones(len(packet) // 4 - 8, "<f4") * np.float32(scale)).tobytes()
                header = {"round": int(rng.integers(5))} if rng.integers(6) == 0 else {}
                number = packet[7] if rng.integers(6) else int(rng.integers(256))
                kind[row] = reseal(packet, body, weight, number, **header)
            put(content, updates, reports)
            return f"packet ({how})"
    return "nothing"


class Round:
    """An open round, honest replies, and the server as it is before they come."""

    def __init__(self, **settings: Any) -> None:
        chosen = experiment(**settings)
        self.wire = Wire(chosen)
        schema = chosen.load().schema
        self.plan = chosen.make_plan(schema)
        self.server = Server(
            self.plan,
            schema.owners,
            **rounds_of(len(schema.owners), 1.0, 3),
            placement=placement_of(self.plan, chosen.make_engine()),
            bounds=Bounds(),
            examples=schema.examples,
        )
        hosts = {client: 1 if client in OWN else 2 for client in OWN + OTHERS}
        self.strategy = FedMTL(self.server, node_map_of(self.server.roster.clients, hosts), "run", 1.0)
        empty: Any = None
        for round in (1, 2):
            messages = self.strategy.configure_train(round, empty, empty, self.wire)
            self.replies = self.wire.send_and_receive(messages)
            self.before, self.memories = self.server.state, copy.deepcopy(self.server.memories)
            if round == 1:
                self.strategy.aggregate_train(round, self.replies)
        self.strategy.aggregate_train(2, self.copies())
        self.honest = self.server.state
        self.largest = max(float(value.abs().max()) for value in self.before.values())

    def copies(self) -> list[Message]:
        found = []
        for reply in self.replies:
            content = RecordDict({})
            for name, record in reply.content.items():
                if isinstance(record, ArrayRecord):
                    data = bytes(record[PACKETS].data)
                    content[name] = ArrayRecord({PACKETS: Array("uint8", (len(data),), "fedmtl.packets", data)})
                else:
                    content[name] = ConfigRecord(copy.deepcopy(dict(record)))  # pyright: ignore[reportArgumentType]
            message = copy.copy(reply)
            message.__dict__["_content"] = content
            found.append(message)
        return found

    def close(self, replies: list[Message]) -> None:
        self.server.state, self.server.ledger = self.before, Ledger()
        self.server.memories = copy.deepcopy(self.memories)
        self.server.rejected.clear()
        self.strategy.aggregate_train(2, replies)


def check(round: Round) -> None:
    """Check the invariants that hold after any reply of node 1."""
    outcome, state = round.strategy.outcome, round.server.state
    assert outcome is not None
    trained, problems = set(outcome.trained.tolist()), outcome.problems
    assert set(OTHERS) <= trained, "a client of the other node was left out"
    assert set(problems) == set(range(5)) - trained, "a client was neither used nor named"
    assert all(0 < len(text) < 1000 and text.isprintable() for text in problems.values()), (
        "a text was not cut or escaped"
    )
    assert all_finite(state), "the model is not finite"
    worst = max(float((state[name] - round.before[name]).abs().max()) for name in state)
    assert worst <= 1000 * 30 * round.largest, "an update went beyond its bound"
    for part in outcome.measurements:
        for sums in part.sums.values():
            assert np.isfinite(sums).all() and (sums >= 0).all() and (sums[:, 0] <= 4).all(), "forged sums"


def fuzz(count: int, seed: int = 0) -> dict[str, Any]:
    """Try ``count`` mutations; the figures of a report."""
    for name in ("fedmtl", "flwr"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    rounds = [Round(), Round(up_codec=Int8(block=8)), Round(up_codec=ErrorFeedback(TopK(0.25)))]
    rounds += [Round(up_codec=Chain(ClipNorm(10.0), GaussianNoise(0.001), ErrorFeedback(TopK(0.25))))]
    rounds += [Round(up_codec=PerLayer({"*bias": Int8(block=8)}, default=TopK(0.25)))]
    rounds += [Round(up_codec=EF21(STC(0.25)))]
    kinds: dict[str, int] = {}
    slowest, changed, start = 0.0, 0, time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        round = rounds[k % len(rounds)]
        replies = round.copies()
        done = [mutate(replies[0].content, rng) for _ in range(int(rng.integers(1, 5)))]
        begin = time.perf_counter()
        try:
            round.close(replies)
            check(round)
        except BaseException as error:
            raise AssertionError(f"mutation {k} of seed {seed} ({'; '.join(done)}): {error!r}") from error
        took = time.perf_counter() - begin
        assert took < SLOW, f"mutation {k} of seed {seed} ({'; '.join(done)}) took {took:.1f} s"
        slowest = max(slowest, took)
        changed += bool(round.server.rejected)
        for kind, number in round.server.rejected.items():
            kinds[kind] = kinds.get(kind, 0) + number
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return {
        "mutations": count,
        "rejected": changed,
        "kinds": dict(sorted(kinds.items())),
        "slowest_seconds": round_to(slowest),
        "seconds": round_to(time.perf_counter() - start),
        "grown_mb": round_to(grown / 1024),
    }


def large(what: str, megabytes: int) -> dict[str, float]:
    """Megabytes that arrive in one place of a reply, and how far the server's memory peaks above them. Linux only."""
    for name in ("fedmtl", "flwr"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    round = Round(cohort=1.0)
    round.close(round.copies())
    replies, size = round.copies(), megabytes * 1_000_000
    content: Any = replies[0].content
    if what == "packet":
        updates, reports = split(content)
        put(content, [reseal(updates[0], bytes(size)), *updates[1:]], reports)
        del updates, reports
    elif what == "packets":
        put_bytes(content, bytes(size))
    elif what == "report":
        updates, reports = split(content)
        put(content, updates, [bytes(size), *reports[1:]])
        del updates, reports
    elif what == "column":
        content[REPLIES]["clients"] = bytes(size)
    elif what == "text":
        content[REPLIES]["troubled"], content[REPLIES]["problems"] = [0], ["A" * size]
    elif what == "totals":
        content["totals"] = ConfigRecord({"vectors": [bytes(size)]})
    else:
        raise ValueError(what)
    before = _status("VmRSS")
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    start = time.perf_counter()
    round.close(replies)
    seconds = time.perf_counter() - start
    check(round)
    return {"arrived": megabytes, "above": round_to(_status("VmHWM") - before), "seconds": round_to(seconds)}


def _status(key: str) -> float:
    """A figure of this process, in MB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key)) / 1024


def round_to(value: float) -> float:
    return float(f"{value:.3g}")


if __name__ == "__main__" and not sys.argv[1].isdigit():
    print(json.dumps(large(sys.argv[1], int(sys.argv[2]))))
elif __name__ == "__main__":
    print(json.dumps(fuzz(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
