"""The schema of a run's data as a file of its folder, so that its models can be made again without the data."""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_hexdigest

from fedmtl.core.file_format import FORMAT, OtherFormat, check_format
from fedmtl.core.files import Folder
from fedmtl.core.input_forms import InputForm
from fedmtl.data.base import Schema
from fedmtl.data.roster import roster_of
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.registry.components import describe, make

SCHEMA = "schema.json"

MOST_CLIENTS = 2**27
"""Most clients of a schema that is read."""


def schema_to_bytes(schema: Schema) -> bytes:
    """The content of ``schema.json``: tasks, shape of an example, and for each client its tasks, examples and name."""
    owners = schema.owners
    found: dict[str, Any] = {
        "format": FORMAT,
        "tasks": {name: describe("task", task) for name, task in schema.tasks.items()},
        "input_shape": [int(size) for size in schema.input_shape],
        "integer_inputs": bool(schema.integer_inputs),
        "task_sets": [list(owned) for owned in owners.task_sets],
        "count": len(owners),
        "clients": _packed(owners.clients),
        "owns": _packed(owners.owns),
        "examples": None if schema.examples is None else _packed(schema.examples),
        "names": {str(client): name for client, name in schema.client_names.items()},
        "tokens": int(schema.tokens),
    }
    if schema.forms:
        found["forms"] = {name: [list(form.shape), form.whole, list(form.tasks)] for name, form in schema.forms.items()}
    return json.dumps({**found, "checksum": _checksum(found)}, indent=1).encode()


def read_schema(files: Folder, allowed: Allowed = NOTHING) -> Schema | None:
    """The schema of a run folder's data; None where it has none, of an earlier fedmtl.

    Raises:
        OtherFormat: another release wrote it.
        ValueError: a file that is damaged, or a task of a user's own whose module is not allowed.
    """
    path = files.path(SCHEMA)
    if not files.exists(SCHEMA):
        return None
    try:
        found = json.loads(files.read(SCHEMA))
        check_format(path, found["format"])  # before the checksum, which another release may take of other content
        if found.pop("checksum") != _checksum(found):
            raise ValueError("its content does not fit its checksum")
        count = int(found["count"])
        if not 0 < count <= MOST_CLIENTS:
            raise ValueError(f"{count} clients")
        sets = [tuple(map(str, owned)) for owned in found["task_sets"]]
        clients, owns = _unpacked(found["clients"], count), _unpacked(found["owns"], count)
        if owns.min() < 0 or owns.max() >= len(sets):
            raise ValueError("a client with unknown tasks")
        examples = None if found["examples"] is None else _unpacked(found["examples"], 2 * count).reshape(-1, 2)
        shape, whole = tuple(map(int, found["input_shape"])), bool(found["integer_inputs"])
        forms = {str(name): _form(*form) for name, form in found.get("forms", {}).items()}
        names, tables = {int(client): str(name) for client, name in found["names"].items()}, dict(found["tasks"])
        tokens = int(found.get("tokens", 0))
    except OtherFormat:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error) as error:
        raise ValueError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {str(error)[:200]}); restore the file from a copy."
        ) from None
    try:
        tasks = {name: make("task", table, allowed) for name, table in tables.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Schema(tasks, shape, whole, roster_of(clients, sets, owns), examples, names, tokens, forms)


def _form(shape: Any, whole: Any, tasks: Any) -> InputForm:
    return InputForm(tuple(map(int, shape)), bool(whole), tuple(map(str, tasks)))


def _packed(numbers: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(numbers, "<i8").tobytes(), 1)).decode()


def _unpacked(text: str, count: int) -> NDArray[np.int64]:
    """Numbers of ``_packed``; what would be longer is not unpacked.

    Raises:
        ValueError: another number of them.
    """
    data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), 8 * count + 1)
    if len(data) != 8 * count:
        raise ValueError(f"{count} numbers are expected, got {len(data)} bytes or more")
    return np.frombuffer(data, "<i8").astype(np.int64)


def _checksum(found: Mapping[str, Any]) -> str:
    return xxh3_128_hexdigest(json.dumps(found, sort_keys=True).encode())
