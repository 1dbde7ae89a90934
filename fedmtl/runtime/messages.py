"""Visits and replies <-> Flower messages: one array of raw bytes, and who owns which slice of it.

Packets are joined in one uint8 array, because Flower's transport pays for every array anew. Where the
receiver is on the same machine, equal packets may be put there once (``share``): the ledger counts them for
every client either way, and over a network each client's packet is really there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from numpy.typing import NDArray

from fedmtl.comm.packets import Packets
from fedmtl.federation.plan import Plan
from fedmtl.federation.visits import Replies, Total, Visits
from fedmtl.types import ClientId, TaskSet

PACKETS = "packets"
VISITS = "visits"
REPLIES = "replies"
TOTALS = "totals"
ROSTER = "roster"

_STYPE = "fedmtl.packets"

R = TypeVar("R", ArrayRecord, ConfigRecord)


class OtherExperiment(ValueError):
    """A node was asked to work for an experiment that is not its own."""


def byte_array(data: NDArray[np.uint8]) -> Array:
    """An Array around a buffer, without a copy; Flower's constructor takes nothing but bytes."""
    array = Array("uint8", (data.size,), _STYPE, b"")
    set_bytes(array, data)
    return array


def set_bytes(array: Array, data: NDArray[np.uint8]) -> None:
    """Put a buffer into an Array, without a copy."""
    array.data = np.ascontiguousarray(data).data  # pyright: ignore[reportAttributeAccessIssue]


def _array(data: NDArray[np.uint8], local: bool) -> ArrayRecord:
    record = ArrayRecord({})
    record[PACKETS] = byte_array(data) if local else Array("uint8", (data.size,), _STYPE, data.tobytes())
    return record


def packet_bytes(message: Message) -> int:
    """How many bytes of packets a message holds; 0 for one without."""
    if not message.has_content() or PACKETS not in message.content:
        return 0
    return _packets(message.content).size


def visits_content(plan: Plan, run: str, round: int, visits: Visits, share: bool, add: bool = False) -> RecordDict:
    """What one node is told in a round. ``run`` tells this run from others whose private state a node may keep.

    ``add`` asks for the sum of the uploads instead of each.

    Where the receiver is on this machine (``share``), packets that are the same bytes here are so there.
    """
    packets = visits.packets if share else visits.packets.apart()
    config = ConfigRecord(
        {
            "plan": plan.digest,
            "run": run,
            "round": round,
            "add": int(add),
            "clients": _bytes(visits.clients, "<i8"),
            "start": _bytes(packets.starts, "<i8"),
            "length": _bytes(packets.lengths, "<i8"),
            "evaluate": _bytes(visits.evaluate, "u1"),
            "train": _bytes(visits.train, "u1"),
            "gather": _bytes(visits.gather, "u1"),
        }
    )
    return RecordDict({PACKETS: _array(packets.data, share), VISITS: config})


def read_visits(plan: Plan, content: RecordDict) -> tuple[int, Visits]:
    """The round and its visits.

    Raises:
        OtherExperiment: the server's plan is not this node's.
        ValueError: columns of unlike lengths, or packets that lie outside the bytes that came.
    """
    config = _config(content, VISITS)
    if config["plan"] != plan.digest:
        raise OtherExperiment(
            f"The server runs experiment {_hex(config['plan'])}, this node {plan.digest.hex()}; "
            "give both the same preset, settings and version of fedmtl."
        )
    data = _packets(content)
    clients, start, length = (_column(config, key, "<i8") for key in ("clients", "start", "length"))
    flags = [_column(config, key, "u1").astype(bool) for key in ("evaluate", "train", "gather")]
    _check_columns(clients, start, length, *flags)
    if len(clients) and (start.min() < 0 or length.min() < 0 or (start + length).max() > data.size):
        raise ValueError(f"The message's packets lie outside its {data.size} bytes; dropped.")
    return _int(config, "round"), Visits(clients, Packets(data, start, length), *flags)


def replies_content(round: int, replies: Replies, seconds: Mapping[str, float], local: bool = False) -> RecordDict:
    """What one node answers: updates, then reports; ``seconds`` is where its time went, by phase."""
    updates = replies.updates if replies.totals else replies.updates.apart()
    reports = replies.reports.apart()
    parts = [packets.data for packets in (updates, reports) if packets.data.size]
    data = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.zeros(0, np.uint8)])
    config = ConfigRecord(
        {
            "round": round,
            "clients": _bytes(replies.clients, "<i8"),
            "update": _bytes(updates.lengths, "<i8"),
            "report": _bytes(reports.lengths, "<i8"),
            "seconds": _bytes(replies.seconds, "<f8"),
            "troubled": list(replies.problems),
            "problems": list(replies.problems.values()),
            "phases": list(seconds),
            "phase_seconds": list(seconds.values()),
        }
    )
    content = RecordDict({PACKETS: _array(data, local), REPLIES: config})
    if replies.totals:
        content[TOTALS] = _totals(replies.totals)
    return content


def _totals(totals: Sequence[Total]) -> ConfigRecord:
    return ConfigRecord(
        {
            "tasks": [",".join(total.owned) for total in totals],
            "clients": [_bytes(total.clients, "<i8") for total in totals],
            "vectors": [_bytes(total.vector, "<f8") for total in totals],
            "num_examples": [total.num_examples for total in totals],
        }
    )


def _read_totals(content: RecordDict) -> list[Total]:
    if TOTALS not in content:
        return []
    config: Any = _config(content, TOTALS)
    columns = (config[key] for key in ("tasks", "clients", "vectors", "num_examples"))
    return [
        Total(tuple(owned.split(",")), np.frombuffer(clients, "<i8"), np.frombuffer(vector, "<f8"), num_examples)
        for owned, clients, vector, num_examples in zip(*columns, strict=True)
    ]


def read_replies(content: RecordDict, round: int) -> Replies:
    """The replies of a node.

    Raises:
        ValueError: an answer to another round, or lengths that do not add up to the bytes that came.
    """
    config = _config(content, REPLIES)
    if _int(config, "round") != round:
        raise ValueError(f"Expected an answer to round {round}, got one to round {config['round']}; dropped.")
    data = _packets(content)
    clients, update, report = (_column(config, key, "<i8") for key in ("clients", "update", "report"))
    seconds = _column(config, "seconds", "<f8")
    _check_columns(clients, update, report, seconds)
    if len(clients) and min(update.min(), report.min()) < 0:
        raise ValueError("The answer announces packets of negative length; dropped.")
    totals = _read_totals(content)
    total = int(report.sum()) + (0 if totals else int(update.sum()))
    if total != data.size:
        raise ValueError(f"The answer announces {total} bytes of packets, got {data.size}; dropped.")
    troubled, problems = config["troubled"], config["problems"]
    if not isinstance(troubled, list) or not isinstance(problems, list) or len(troubled) != len(problems):
        raise ValueError("The answer's problems are not two lists of one length; dropped.")
    updates = np.zeros_like(update) if totals else np.cumsum(update) - update
    reports = data.size - int(report.sum()) + np.cumsum(report) - report
    return Replies(
        clients,
        Packets(data, reports, report),
        Packets(data, updates, update),
        seconds,
        {int(client): str(problem) for client, problem in zip(troubled, problems, strict=True)},
        totals,
    )


def wants_sums(content: RecordDict) -> bool:
    """Whether a message with visits asks for the sum of the uploads."""
    return bool(_config(content, VISITS)["add"])


def read_phases(content: RecordDict) -> dict[str, float]:
    """Where a node's time went."""
    config = _config(content, REPLIES)
    names, seconds = config.get("phases", []), config.get("phase_seconds", [])
    if not isinstance(names, list) or not isinstance(seconds, list):
        return {}
    return {str(name): float(spent) for name, spent in zip(names, seconds, strict=False)}


def run_of(content: RecordDict) -> str:
    """Which run a message with visits belongs to; a word fit for a folder's name.

    Raises:
        ValueError: anything else, which must not become part of a path.
    """
    run = _config(content, VISITS)["run"]
    if not isinstance(run, str) or not run.isalnum():
        raise ValueError(f"A run is named by letters and digits, got {run!r}.")
    return run


def roster_content(roster: Mapping[ClientId, TaskSet]) -> RecordDict:
    """Who lives on a node, and which tasks they own: each set of tasks once, and which set is whose."""
    sets = {owned: index for index, owned in enumerate(sorted(set(roster.values())))}
    config = ConfigRecord(
        {
            "clients": _bytes(np.array(list(roster), np.int64), "<i8"),
            "owns": _bytes(np.array([sets[owned] for owned in roster.values()], np.int64), "<i8"),
            "tasks": [",".join(owned) for owned in sets],
        }
    )
    return RecordDict({ROSTER: config})


def read_roster(content: RecordDict) -> dict[ClientId, TaskSet]:
    """Client -> its tasks.

    Raises:
        ValueError: what ``roster_content`` cannot have written.
    """
    config = _config(content, ROSTER)
    tasks, clients, owns = config["tasks"], _column(config, "clients", "<i8"), _column(config, "owns", "<i8")
    if not isinstance(tasks, list) or (len(owns) and not 0 <= owns.min() <= owns.max() < len(tasks)):
        raise ValueError("A roster gives each client one of its sets of tasks; this one does not.")
    _check_columns(clients, owns)
    sets = [tuple(str(owned).split(",")) for owned in tasks]
    return {client: sets[index] for client, index in zip(clients.tolist(), owns.tolist(), strict=True)}


def _config(content: RecordDict, name: str) -> ConfigRecord:
    return _record(content, name, ConfigRecord)


def _packets(content: RecordDict) -> NDArray[np.uint8]:
    return np.frombuffer(_record(content, PACKETS, ArrayRecord)[PACKETS].data, np.uint8)


def _record(content: RecordDict, name: str, kind: type[R]) -> R:
    """As from Flower's views of a kind, each of which makes a dict of all records at each look."""
    record = content[name]
    if not isinstance(record, kind):
        raise KeyError(f"The record {name!r} is of type {kind.__name__}, got {type(record).__name__}.")
    return record


def _bytes(values: NDArray[Any], dtype: str) -> bytes:
    return values.astype(dtype).tobytes()


def _column(config: ConfigRecord, key: str, dtype: str) -> NDArray[Any]:
    """Numbers that travel as bytes: Flower looks at each item of a list, and there may be 100,000."""
    value = config[key]
    if not isinstance(value, bytes) or len(value) % np.dtype(dtype).itemsize:
        raise ValueError(f"{key!r} in the message is a column of {dtype}, got {type(value).__name__}; dropped.")
    return np.frombuffer(value, dtype).astype(np.dtype(dtype).newbyteorder("="))


def _check_columns(*columns: NDArray[Any]) -> None:
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"The message's columns have lengths {[len(column) for column in columns]}; dropped.")


def _int(config: ConfigRecord, key: str) -> int:
    value = config[key]
    if not isinstance(value, int):
        raise ValueError(f"{key!r} in the message is a whole number, got {value!r}.")
    return value


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
