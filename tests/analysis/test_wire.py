"""The model of the wire: by hand, and against Flower's own objects of a run's messages."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.task_identity import TaskIdentity

from fedmtl import Experiment, FlowerWire, load_run, run, wire_bytes
from fedmtl.protocol.wire_model import Carried, WireBytes
from fedmtl.runtime.flower.carried import carried
from fedmtl.runtime.flower.messages import packet_bytes
from fedmtl.runtime.local import LocalGrid

DOWN, UP = Carried(2, 12, 50_000), Carried(3, 18, 70_000)


def test_a_message_down_by_hand() -> None:
    """2 questions, 12 objects and 2 confirmations are 16 requests: 16 heads of 130 and 842, 12 names of 86."""
    assert FlowerWire().down(DOWN) == WireBytes(50_000 + 16 * 130, 16 * 842 + 12 * 86)


def test_a_message_up_by_hand() -> None:
    """21 requests; each of 18 objects has 156 bytes beside it, and a name of 68 back, each of 3 replies 102 more."""
    assert FlowerWire().up(UP) == WireBytes(21 * 130 + 18 * 68 + 3 * 102, 70_000 + 21 * 842 + 18 * 156)


def test_layers_below_by_hand() -> None:
    """20,000 bytes are 2 records of TLS, of 16 KiB at most, and with these 14 segments of at most 1,448 bytes."""
    assert FlowerWire(tls=True).framed(20_000, 0) == WireBytes(20_044, 0)
    assert FlowerWire(tls=True, tcp=True).framed(20_000, 0) == WireBytes(20_044 + 14 * 52, 0)


def test_idle_nodes_by_hand() -> None:
    """In 240 s two nodes ask 160 times, of which 10 find a message, and send 20 heartbeats."""
    assert FlowerWire().idle(240, 2, 10) == WireBytes(170 * 130, 170 * 842)


def test_recorded_requests_of_a_run() -> None:
    """A run of one round on two SuperNodes, recorded at the sockets with flwr 1.42, requests of messages alone.

    Six messages with 28 objects of 310,373 application bytes, and six replies with 30 of 112,097. Down: six answers to
    questions (4 of 679 bytes, 2 of 399), objects 311,521, confirmations 768, lists of objects 3,432 and 3,900. Up: six
    questions of 853, 25,934, 5,639, 8,448 and 137,925.
    """
    wire = FlowerWire()
    found = wire.down(Carried(6, 28, 310_373)) + wire.up(Carried(6, 30, 112_097))
    assert found.down == pytest.approx(4 * 679 + 2 * 399 + 311_521 + 768 + 3_432 + 3_900, rel=0.005)
    assert found.up == pytest.approx(6 * 853 + 25_934 + 5_639 + 8_448 + 137_925, rel=0.005)


def test_flowers_counter_of_that_run() -> None:
    """``flwr list`` said 313,061 bytes out and 112,343 in."""
    found = FlowerWire().counter(Carried(6, 28, 310_373), Carried(6, 30, 112_097))
    assert found == (pytest.approx(313_061, rel=0.002), pytest.approx(112_343, rel=0.003))


@pytest.mark.parametrize(("field", "value"), [("request", -1), ("poll_seconds", 0.0), ("heartbeat_seconds", -3.0)])
def test_a_number_that_cannot_be(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        FlowerWire(**{field: value})


def test_clients_as_devices_have_the_objects_of_flowers_messages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One client is one node's only one, so its messages are those of a device; ids are as long as on a network."""
    seen: dict[str, list[Message]] = {"down": [], "up": []}
    send = LocalGrid.send_and_receive

    def kept(self: LocalGrid, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        asked = list(messages)
        replies = send(self, asked, timeout=timeout)
        for way, some in (("down", asked), ("up", replies)):
            seen[way] += [message for message in some if packet_bytes(message)]
        return replies

    monkeypatch.setattr(LocalGrid, "send_and_receive", kept)
    result = run(
        Experiment(
            data="synthetic(clients=1, examples=20, features=8, tasks=1)",
            model="MLP(hidden=(900,))",
            rounds=2,
            cohort=1.0,
            runtime="InProcess",
            engine="Loop",
        ),
        tmp_path,
    )
    TaskIdentity.run_id = TaskIdentity.node_id = 2**62  # each grid sets them anew
    rows = wire_bytes(result)
    assert wire_bytes(load_run(tmp_path)) == rows
    assert [row.round for row in rows] == [1, 2, 3] and all(row.clients == 1 for row in rows)
    for way, messages in seen.items():
        assert [packet_bytes(message) for message in messages] == [getattr(row, f"packet_{way}") for row in rows]
        for message, row in zip(messages, rows, strict=True):
            message.metadata.__dict__["_message_id"] = "0" * 64
            exact = carried(message)
            assert exact.objects == len(get_all_nested_objects(message)) == 6
            assert getattr(row, f"app_{way}") == pytest.approx(exact.app_bytes, rel=0.02)
    total = FlowerWire().down(Carried(1, 6, rows[0].app_down)) + FlowerWire().up(Carried(1, 6, rows[0].app_up))
    assert (rows[0].wire_down, rows[0].wire_up) == total
