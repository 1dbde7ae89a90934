"""The schema of a run's data in its folder: what is read is what was written, and what is damaged is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedmtl.core.file_format import OtherFormat
from fedmtl.core.files import Folder
from fedmtl.data.base import Schema
from fedmtl.data.roster import Roster
from fedmtl.runs.schema_file import SCHEMA, read_schema, schema_to_bytes
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression

TASKS = {"a": Regression(0.1, 1 / 3), "b": MultiClass(names=("x", "ü")), "c": MultiLabel(3), "d": Binary()}
OWNERS = Roster({7: ("a", "b"), 2: ("c",), 9: ("a", "b"), 4: ("d",)})
EXAMPLES = np.array([[3, 1], [10, 0], [5, 2], [2**40, 7]])
FULL = Schema(TASKS, (3, 28, 28), True, OWNERS, EXAMPLES, {2: "site 2", 9: "nörd"}, 500)


@pytest.mark.parametrize("schema", [FULL, FULL._replace(examples=None, client_names={}, integer_inputs=False)])
def test_what_is_read_is_what_was_written(schema: Schema, tmp_path: Path) -> None:
    (tmp_path / SCHEMA).write_bytes(schema_to_bytes(schema))
    found = read_schema(Folder(tmp_path))
    assert found is not None
    assert found._replace(examples=None) == schema._replace(examples=None)
    if schema.examples is None:
        assert found.examples is None
    else:
        assert found.examples is not None and np.array_equal(found.examples, schema.examples)
    assert [found.owners[client] for client in (2, 4, 7, 9)] == [("c",), ("d",), ("a", "b"), ("a", "b")]


def test_a_hundred_thousand_clients_are_a_small_file() -> None:
    """Consecutive ids and sizes of 0 to 99: 3 numbers of 8 bytes a client, 2.4 MB, as at most a fifth of it."""
    count = 100_000
    examples = np.stack([np.arange(count) % 100, np.ones(count, np.int64)], 1)
    schema = Schema({"d": Binary()}, (4,), False, Roster(dict.fromkeys(range(count), ("d",))), examples)
    assert len(schema_to_bytes(schema)) < 500_000


def test_a_run_of_an_earlier_fedmtl_has_none(tmp_path: Path) -> None:
    assert read_schema(Folder(tmp_path)) is None


@pytest.mark.parametrize("damage", ["cut", "changed", "more clients", "no json", "unknown task"])
def test_a_damaged_file_is_one_clear_error(damage: str, tmp_path: Path) -> None:
    data = schema_to_bytes(FULL)
    values = json.loads(data)
    match damage:
        case "cut":
            data = data[:-20]
        case "changed":
            data = data.replace(b'"count": 4', b'"count": 5')
        case "more clients":
            values["count"] = 5
            data = _signed(values)
        case "no json":
            data = b"[" * 10_000
        case _:
            values["tasks"]["d"]["name"] = "os:system"
            data = _signed(values)
    (tmp_path / SCHEMA).write_bytes(data)
    with pytest.raises(ValueError, match=r"schema\.json"):
        read_schema(Folder(tmp_path))


def test_another_version_says_so_and_not_that_it_is_damaged(tmp_path: Path) -> None:
    """As the summary does: the checksum of another release may be of other content."""
    values = json.loads(schema_to_bytes(FULL))
    (tmp_path / SCHEMA).write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(OtherFormat, match=r"schema\.json has format 99, .* reads format 2: .*in another folder"):
        read_schema(Folder(tmp_path))


def _signed(values: dict[str, object]) -> bytes:
    """The file with a checksum that fits, as a stranger can make it."""
    from fedmtl.runs.schema_file import _checksum

    values.pop("checksum")
    return json.dumps({**values, "checksum": _checksum(values)}).encode()
