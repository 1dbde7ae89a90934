"""Traffic of a run over a network: application bytes, counted, and bytes at the devices' sockets, modelled.

Counts, of messages and of nodes that the run began on:

    down_messages, down_objects, down_bytes, up_messages, up_objects, up_bytes      as ``Carried``
    begun        nodes that were sent a first message, by each process of the server
    app_bytes    of the app's bundle, once for each of them
"""

from collections.abc import Mapping
from typing import Any

from fedmtl.protocol.wire_model import Carried, FlowerWire

WIRE = FlowerWire()


def counts_of(down: Carried, up: Carried, begun: int, app_bytes: int) -> dict[str, int]:
    """Return the counts of one exchange."""
    each = {f"{way}_{name}": value for way, one in (("down", down), ("up", up)) for name, value in _named(one).items()}
    return {**each, "begun": begun, "app_bytes": begun * app_bytes}


def _named(one: Carried) -> dict[str, int]:
    return {"messages": one.messages, "objects": one.objects, "bytes": one.app_bytes}


def transport(counts: Mapping[str, int], seconds: float, wire: FlowerWire = WIRE) -> dict[str, Any]:
    """Return the part of a summary: ``app_bytes`` are counted, ``wire_bytes`` modelled.

    Args:
        counts: of a run.
        seconds: that it took, in which its nodes were connected.
        wire: the model of the transport.
    """
    down, up = (Carried(*(counts[f"{way}_{name}"] for name in ("messages", "objects", "bytes"))) for way in _WAYS)
    nodes = counts["begun"]
    rows = {
        "messages": wire.down(down) + wire.up(up),
        "control": wire.begin(nodes, counts["app_bytes"] // max(nodes, 1)),
        "idle": wire.idle(seconds, nodes, down.messages),
    }
    return {
        "nodes": nodes,
        "messages": {"down": down.messages, "up": up.messages},
        "objects": {"down": down.objects, "up": up.objects},
        "app_bytes": {"down": down.app_bytes, "up": up.app_bytes, "label": "measured"},
        "flower_counter": {**wire.counter(down, up)._asdict(), "label": "modelled"},
        "wire_bytes": {
            "down": sum(one.down for one in rows.values()),
            "up": sum(one.up for one in rows.values()),
            **{name: one._asdict() for name, one in rows.items()},
            "label": "modelled",
        },
    }


_WAYS = ("down", "up")
