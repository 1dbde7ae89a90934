"""Visits and replies <-> Flower messages: one array of raw bytes, and who owns which slice of it.

Packets are joined in one uint8 array, because Flower's transport pays for every array anew. Where the
receiver is on the same machine, equal packets may be put there once (``share``): the ledger counts them for
every client either way, and over a network each client's packet is really there.
"""

from collections.abc import Iterable, Sequence

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedmtl.federation.plan import Plan
from fedmtl.federation.visits import Reply, Visit
from fedmtl.types import ClientId, TaskSet

PACKETS = "packets"
VISITS = "visits"
REPLIES = "replies"
ROSTER = "roster"

_STYPE = "fedmtl.packets"


class OtherExperiment(ValueError):
    """A node was asked to work for an experiment that is not its own."""


def _join(packets: Sequence[bytes], share: bool) -> tuple[bytes, list[int]]:
    """The packets end to end, and where each starts."""
    starts: list[int] = []
    parts: list[bytes] = []
    where: dict[bytes, int] = {}
    offset = 0
    for packet in packets:
        if share and packet in where:
            starts.append(where[packet])
            continue
        where[packet] = offset
        starts.append(offset)
        parts.append(packet)
        offset += len(packet)
    return b"".join(parts), starts


def _array(data: bytes) -> ArrayRecord:
    return ArrayRecord({PACKETS: Array("uint8", (len(data),), _STYPE, data)})


def packet_bytes(message: Message) -> int:
    """How many bytes of packets a message holds; 0 for one without."""
    if not message.has_content():
        return 0
    return sum(len(array.data) for record in message.content.array_records.values() for array in record.values())


def visits_content(plan: Plan, run: str, round: int, visits: Sequence[Visit], share: bool) -> RecordDict:
    """What one node is told in a round. ``run`` tells this run from others whose private state a node may keep."""
    data, starts = _join([visit.packet for visit in visits], share)
    config = ConfigRecord(
        {
            "plan": plan.digest,
            "run": run,
            "round": round,
            "clients": [visit.client for visit in visits],
            "start": starts,
            "length": [len(visit.packet) for visit in visits],
            "evaluate": [int(visit.evaluate) for visit in visits],
            "train": [int(visit.train) for visit in visits],
            "gather": [int(visit.gather) for visit in visits],
        }
    )
    return RecordDict({PACKETS: _array(data), VISITS: config})


def read_visits(plan: Plan, content: RecordDict) -> tuple[int, list[Visit]]:
    """The round and its visits. Packets that share a slice are the same object.

    Raises:
        OtherExperiment: the server's plan is not this node's.
    """
    config = content.config_records[VISITS]
    if config["plan"] != plan.digest:
        raise OtherExperiment(
            f"The server runs experiment {_hex(config['plan'])}, this node {plan.digest.hex()}; "
            "give both the same preset, settings and version of fedmtl."
        )
    data = content.array_records[PACKETS][PACKETS].data
    slices: dict[tuple[int, int], bytes] = {}
    visits = []
    for client, start, length, evaluate, train, gather in zip(
        *(_ints(config, key) for key in ("clients", "start", "length", "evaluate", "train", "gather")), strict=True
    ):
        packet = slices.setdefault((start, length), data[start : start + length])
        visits.append(Visit(client, packet, bool(evaluate), bool(train), bool(gather)))
    return _int(config, "round"), visits


def replies_content(round: int, replies: Sequence[Reply]) -> RecordDict:
    """What one node answers."""
    data, _ = _join([part for reply in replies for part in (reply.report, reply.update)], share=False)
    config = ConfigRecord(
        {
            "round": round,
            "clients": [reply.client for reply in replies],
            "report": [len(reply.report) for reply in replies],
            "update": [len(reply.update) for reply in replies],
            "seconds": [reply.seconds for reply in replies],
            "problem": [reply.problem for reply in replies],
        }
    )
    return RecordDict({PACKETS: _array(data), REPLIES: config})


def read_replies(content: RecordDict, round: int) -> list[Reply]:
    """The replies of a node.

    Raises:
        ValueError: an answer to another round, or lengths that do not add up to the bytes that came.
    """
    config = content.config_records[REPLIES]
    if _int(config, "round") != round:
        raise ValueError(f"Expected an answer to round {round}, got one to round {config['round']}; dropped.")
    data = content.array_records[PACKETS][PACKETS].data
    columns = [_ints(config, key) for key in ("clients", "report", "update")]
    if min([0, *columns[1], *columns[2]]) < 0 or sum(columns[1]) + sum(columns[2]) != len(data):
        raise ValueError(
            f"The answer announces {sum(columns[1]) + sum(columns[2])} bytes of packets, got {len(data)}; dropped."
        )
    seconds, problems = config["seconds"], config["problem"]
    if not isinstance(seconds, list) or not isinstance(problems, list):
        raise ValueError("The answer's seconds and problems are not lists; dropped.")
    replies = []
    offset = 0
    for client, report, update, spent, problem in zip(*columns, seconds, problems, strict=True):
        end = offset + report
        replies.append(Reply(client, data[offset:end], data[end : end + update], float(spent), str(problem)))
        offset = end + update
    return replies


def run_of(content: RecordDict) -> str:
    """Which run a message with visits belongs to; a word fit for a folder's name.

    Raises:
        ValueError: anything else, which must not become part of a path.
    """
    run = content.config_records[VISITS]["run"]
    if not isinstance(run, str) or not run.isalnum():
        raise ValueError(f"A run is named by letters and digits, got {run!r}.")
    return run


def roster_content(roster: dict[ClientId, TaskSet]) -> RecordDict:
    """Who lives on a node, and which tasks they own."""
    return RecordDict(
        {ROSTER: ConfigRecord({"clients": list(roster), "tasks": [",".join(tasks) for tasks in roster.values()]})}
    )


def read_roster(content: RecordDict) -> dict[ClientId, TaskSet]:
    config = content.config_records[ROSTER]
    tasks = config["tasks"]
    if not isinstance(tasks, list):
        raise ValueError("A roster's tasks are a list.")
    return {client: tuple(str(owned).split(",")) for client, owned in zip(_ints(config, "clients"), tasks, strict=True)}


def _ints(config: ConfigRecord, key: str) -> list[int]:
    values = config[key]
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes)):
        raise ValueError(f"{key!r} in the message is a list of whole numbers, got {values!r}.")
    return [int(value) for value in values]


def _int(config: ConfigRecord, key: str) -> int:
    value = config[key]
    if not isinstance(value, int):
        raise ValueError(f"{key!r} in the message is a whole number, got {value!r}.")
    return value


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
