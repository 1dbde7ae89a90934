"""Identity of a resumed run: fingerprints of its data and of all its components."""

import logging
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128

from fedmtl.client.data_shard import Shard
from fedmtl.core.fingerprint import NoFingerprint, fingerprint, parts
from fedmtl.core.types import TaskSet
from fedmtl.data.base import ClientData, Federation, Schema
from fedmtl.data.disk import DiskArray, blocks_of
from fedmtl.data.joined import Chosen, Joined
from fedmtl.runs.experiment import COMPONENTS, LISTS, Experiment
from fedmtl.runs.experiment_fields import EXECUTION_FIELDS

log = logging.getLogger("fedmtl")

NO_FINGERPRINT = "no fingerprint: "
"""Begins what stands in place of a component's fingerprint when it has none."""


TOGETHER = 1024
"""Arrays that are joined before they are hashed."""


def facts(experiment: Experiment, schema: Schema, federation: Federation | None) -> dict[str, Any]:
    """Return the facts that must stay the same over a run's life, as plain values.

    Args:
        experiment: what runs.
        schema: of its data.
        federation: the data; None where it is on devices, of which the server sees no example.
    """
    components: dict[str, Any] = {}
    held = {field: getattr(experiment, field) for field in COMPONENTS}
    for field in LISTS:
        held |= {f"{field}[{place}]": one for place, one in enumerate(getattr(experiment, field))}
    for field, component in held.items():
        if field.partition("[")[0] in EXECUTION_FIELDS or (field == "data" and federation is not None):
            continue  # no result depends on it, or its examples say it
        try:
            components[field] = parts(component)
        except NoFingerprint as error:
            log.warning("%s cannot be compared on --resume, which will refuse: %s", field, error)
            components[field] = f"{NO_FINGERPRINT}{error}"
    own = schema.input_shape, schema.integer_inputs, dict(schema.tasks), _owners(schema)
    found = {
        "python": platform.python_version(),
        "components": components,
        "clients": fingerprint((*own, dict(schema.forms)) if schema.forms else own),
    }
    return found if federation is None else {**found, "examples": examples_digest(federation.clients)}


def check_same(folder: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other data or other components.

    Raises:
        ValueError: it names all that differs, and the way out.
    """
    other = []
    if before.get("clients") != now["clients"]:
        other.append("clients (their ids, tasks or shapes)")
    if None not in (before.get("examples"), now.get("examples")) and before["examples"] != now["examples"]:
        other.append("data (the clients' examples)")
    components = before.get("components", {})
    for field, found in now["components"].items():
        kept = components.get(field)
        for one in (kept, found):
            if isinstance(one, str):
                raise ValueError(
                    f"{folder!r} holds a run whose {field} cannot be compared with what is given now "
                    f"({one.removeprefix(NO_FINGERPRINT)}); give its class a method fingerprint() that returns plain "
                    "values, or __getstate__, and begin in another folder (--out)."
                )
        if isinstance(kept, dict) and kept != found:
            different = sorted(name for name in kept.keys() | found.keys() if kept.get(name) != found.get(name))
            other += [
                f"{field}.{name}" if name not in ("code", "content") else f"{field} ({name})" for name in different
            ]
    if other:
        version = ""
        if before.get("python") != now["python"] and any("(code)" in one for one in other):
            version = f" It began under Python {before.get('python')}, this is {now['python']}."
        raise ValueError(
            f"{folder!r} holds a run with other {', '.join(other[:8])}: a run resumes with the data and the components "
            f"that it began with; give another folder (--out) for others.{version}"
        )


def examples_digest(clients: Mapping[int, ClientData]) -> str:
    """Hash all clients' examples and labels, in the order of ids among clients of one set of tasks."""
    found = xxh3_128()
    for owned, members, splits in _tables(clients):
        found.update(repr(owned).encode())
        found.update(np.asarray(members, np.int64).data)
        for sizes, arrays in splits:
            found.update(np.asarray(sizes, np.int64).data)
            for pieces in arrays:
                some = xxh3_128()
                for piece in _longer(pieces):
                    for block in blocks_of(piece):
                        some.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
                first = pieces[0] if len(pieces) else np.zeros(0)
                found.update(f"{first.dtype.str}{first.shape[1:]}".encode())
                found.update(some.digest())
    return found.hexdigest()


def _longer(pieces: Sequence[NDArray[Any]]) -> Iterable[NDArray[Any]]:
    """The same numbers in fewer arrays where there are many short ones: calls would take longer than the hashing."""
    if len(pieces) < TOGETHER or sum(piece.nbytes for piece in pieces[:TOGETHER]) > TOGETHER * 2**14:
        return pieces
    return (np.concatenate(pieces[start : start + TOGETHER]) for start in range(0, len(pieces), TOGETHER))


def _tables(clients: Mapping[int, ClientData]) -> Any:
    """(tasks, ids, for train and test: (sizes, for inputs and each task's labels: arrays)), joined where they are."""
    if isinstance(clients, Shard):
        for table in clients.tables:
            splits = [
                (rows.size, [[_array(rows.x)], *([rows.y[task].numpy()] for task in table.owned)])
                for rows in (table.train, table.test)
            ]
            yield table.owned, table.clients, splits
        return
    if isinstance(clients, Joined):
        for table in clients.tables:
            splits = []
            for rows in (table.train, table.test):
                chosen, arrays = rows.numbers(), [rows.x, *(rows.y[task] for task in table.owned)]
                splits.append((rows.size, [Chosen(array, chosen) for array in arrays]))
            yield table.owned, table.clients, splits
        return
    sets: dict[tuple[str, ...], TaskSet] = {}
    groups: dict[TaskSet, list[int]] = {}
    for client, data in clients.items():
        names = tuple(data.train.y)
        if names not in sets:
            sets[names] = tuple(sorted(names))
        groups.setdefault(sets[names], []).append(client)
    for owned, members in sorted(groups.items()):
        members.sort()
        both = [clients[client] for client in members]
        splits = []
        for part in range(2):
            inputs = [data[part].x for data in both]
            labels = [[data[part].y[task] for data in both] for task in owned]
            splits.append((list(map(len, inputs)), [inputs, *labels]))
        yield owned, members, splits


def _array(x: Any) -> Any:
    return x if isinstance(x, DiskArray) else x.numpy()


def _owners(schema: Schema) -> Sequence[Any]:
    """Ids of clients, and for each the number of its set of tasks."""
    return [schema.owners.clients, schema.owners.owns, schema.owners.task_sets]
