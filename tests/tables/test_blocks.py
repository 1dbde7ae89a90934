"""Files of blocks: what is appended is read, bit for bit, in few bytes; what is damaged or hostile costs no memory."""

import csv
import io
import itertools
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_128_digest, xxh32_intdigest

from fedmtl.protocol.ledger import Ledger
from fedmtl.tables.blocks import LINES, DamagedFile, Mark, append, blocks_of, cut, read
from fedmtl.tables.columns import Column, pack_column, unpack_column
from fedmtl.tables.lines import csv_lines, json_lines
from fedmtl.tables.schemas import LEDGER, METRICS, read_table, rows

DRAW = np.random.default_rng(0)
NAN = np.array([0x7FF8000000000001], np.int64).view(np.float64)[0]  # a NaN of other bits than numpy's

COLUMNS = {
    "ids": np.arange(5, 5000),
    "a cohort": np.sort(DRAW.choice(1_000_000, 1000, replace=False)),
    "extremes": np.array([2**63 - 1, -(2**63), 0, 2**63 - 1, -1]),
    "one": np.array([-7]),
    "equal": np.full(1000, 16_672),
    "none": np.zeros(0, np.int64),
    "floats": DRAW.standard_normal(1000),
    "shares": DRAW.integers(0, 5, 1000) / 4,
    "seconds, NaN where there are none": np.where(DRAW.random(1000) < 0.5, np.nan, 0.123),
    "signs of zero, NaNs": np.array([0.0, -0.0, NAN, np.nan, np.inf, -np.inf] * 3),
    "all NaN": np.full(1000, np.nan),
    "no floats": np.zeros(0),
}


@pytest.mark.parametrize("name", list(COLUMNS))
def test_a_column_comes_back_bit_for_bit(name: str) -> None:
    values = COLUMNS[name]
    again = unpack_column(pack_column(values))
    assert again.dtype == values.dtype and again.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("name", "most"),
    [("ids", 0), ("equal", 0), ("a cohort", 2000), ("shares", 5 * 8 + 500), ("all NaN", 8)],
)
def test_columns_are_small(name: str, most: int) -> None:
    assert len(pack_column(COLUMNS[name]).data) <= most


@pytest.mark.parametrize(
    "column",
    [
        Column("plain", "<i8", 3, data=bytes(16)),
        Column("plain", "<f4", 4, data=bytes(16)),
        Column("steps", "<i8", 3, "<u1", 0, 0, zlib.compress(bytes(3))),
        Column("steps", "<i8", 3, "<u1", 0, 0, zlib.compress(bytes(10**7))),
        Column("steps", "<i8", 3, "<u1", 0, 0, zlib.compress(bytes(2)) + b"more"),
        Column("steps", "<i8", 3, "<u1", 0, 0, b"no deflate"),
        Column("steps", "<i8", 3, "O", 0, 0, zlib.compress(bytes(2))),
        Column("steps", "<i8", 3, "", 2**70, 0),
        Column("steps", "<i8", 0),
        Column("table", "<f8", 3, "<u1", 2**60, data=bytes(16)),
        Column("table", "<f8", 3, "<u1", 0, data=zlib.compress(bytes(3))),
        Column("table", "<f8", 3, "<u1", 1, data=bytes(8) + zlib.compress(bytes([0, 1, 0]))),
        Column("other", "<f8", 3),  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_column_that_was_never_packed_is_refused(column: Column) -> None:
    with pytest.raises(ValueError):
        unpack_column(column)


def some_blocks(lines: int, shift: int = 0) -> list[Any]:
    return blocks_of("toy", {"unit": "m"}, {"id": np.arange(lines) + shift, "x": np.arange(lines) / 3})


def joined(path: Path, mark: Mark | None = None) -> dict[str, np.ndarray]:
    parts = list(read(path, "toy", mark))
    assert all(part.shared == {"unit": "m"} and part.lines <= LINES for part in parts)
    return {key: np.concatenate([part.columns[key] for part in parts]) for key in ("id", "x")}


def test_what_was_appended_is_read_whatever_its_length(tmp_path: Path) -> None:
    mark = append(tmp_path / "f", Mark(), some_blocks(3))
    mark = append(tmp_path / "f", mark, [])
    mark = append(tmp_path / "f", mark, some_blocks(2 * LINES + 5, 3))
    found = joined(tmp_path / "f", mark)
    assert (found["id"] == np.arange(2 * LINES + 8)).all() and len(found["x"]) == mark.lines
    assert (tmp_path / "f").stat().st_size == mark.bytes


def test_a_tail_is_cut_and_the_file_goes_on(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    mark = append(one, Mark(), some_blocks(3))
    append(one, mark, some_blocks(7))
    cut(one, mark)
    append(one, mark, some_blocks(5))
    append(other, append(other, Mark(), some_blocks(3)), some_blocks(5))
    assert one.read_bytes() == other.read_bytes()


def test_blocks_that_change_places_or_are_gone_are_noticed(tmp_path: Path) -> None:
    """Each block alone is whole: its checksum covers those before it."""
    path, mark, ends = tmp_path / "f", Mark(), [0]
    for shift in (0, 10, 20):
        mark = append(path, mark, some_blocks(5, shift))
        ends.append(mark.bytes)
    data = path.read_bytes()
    first, second, third = (data[start:end] for start, end in zip(ends, ends[1:], strict=False))
    for changed in (first + third + second, second + third, first + third, first + second):
        path.write_bytes(changed)
        with pytest.raises(DamagedFile, match="f"):
            list(read(path, "toy", mark))
        with pytest.raises(DamagedFile, match="f"):
            cut(path, mark)
    path.write_bytes(first + second)  # and with no mark, blocks that are gone at the end were never written
    assert len(joined(path)["id"]) == 10


def sealed(text: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A block of any content, with checksums that fit."""
    said = text if isinstance(text, bytes) else json.dumps(text).encode()
    head = struct.pack("<4sII", b"fmb2", len(said), len(said + data) if length is None else length)
    head += struct.pack("<I", xxh32_intdigest(head))
    return head + xxh3_128_digest(bytes(16) + head + said + data) + said + data


def column(**changes: Any) -> list[Any]:
    fields = {"key": "id", "form": "steps", "dtype": "<i8", "size": 5, "narrow": "", "first": 0, "step": 1, "length": 0}
    return list({**fields, **changes}.values())


def text(**changes: Any) -> dict[str, Any]:
    return {"name": "toy", "lines": 5, "shared": {}, "columns": [column()]} | changes


@pytest.mark.parametrize(
    "block",
    [
        sealed(b"[" * 100_000),
        sealed(b"\xff\xfe"),
        sealed([]),
        sealed(text(lines=2**62)),
        sealed(text(lines=LINES + 1, columns=[column(size=LINES + 1)])),
        sealed(text(lines=True)),
        sealed(text(columns=[column(size=2**62)])),
        sealed(text(columns=[column(length=2**62)])),
        sealed(text(columns=[column(length=-1)]), b"x"),
        sealed(text(columns=[column(first=1e300)])),
        sealed(text(columns=[column(dtype="O")])),
        sealed(text(columns=[["id"]])),
        sealed(text(), b"more"),
        sealed(text(name="other")),
        sealed(text(), length=2**31),
    ],
)
def test_a_hostile_block_with_right_checksums_is_refused_in_one_line(block: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(block)
    with pytest.raises(DamagedFile, match=r"f, block 1 .*begin anew") as found:
        list(read(tmp_path / "f", "toy"))
    assert "\n" not in str(found.value) and len(str(found.value)) < 500


def test_a_million_lines_of_the_ledger_take_less_than_a_byte_each(tmp_path: Path) -> None:
    """Of a measurement of all, and of a cohort's training: today's lines of JSON took 98 bytes."""
    ledger, clients = Ledger(), np.arange(500_000)
    cohort = np.sort(DRAW.choice(500_000, 1000, replace=False))
    for direction in ("down", "up"):
        ledger.record_many(0, np.setdiff1d(clients, cohort), direction, "evaluate", 1000)
        ledger.record_many(1, cohort, direction, "train", 2000)
    mark = append(tmp_path / LEDGER.file, Mark(), ledger.blocks())
    assert mark.lines == 1_000_000 and mark.bytes < 50_000
    given, found = list(ledger.blocks()), list(read(tmp_path / LEDGER.file, LEDGER.name, mark))
    for one, other in zip(given, found, strict=True):
        assert (one.name, one.lines, one.columns.keys()) == (other.name, other.lines, other.columns.keys())
        assert {name: list(words) for name, words in one.shared.items()} == other.shared  # as JSON has it
        assert all(np.array_equal(values, other.columns[name]) for name, values in one.columns.items())
    few = zip(rows(LEDGER, iter(found)), ledger, strict=True)
    assert all((*row.values(), None) == transfer for row, transfer in itertools.islice(few, 10_000))


def test_ideal_bits_are_in_the_file_where_they_are_kept(tmp_path: Path) -> None:
    """In place of them the bits that they save of 8 a byte behind the header: nothing where no entropy is measured. A
    packet shorter than a header has none."""
    ledger, bits = Ledger(ideal=True), np.array([700, 733, 696])
    ledger.record_many(1, np.array([2, 4, 9]), "down", "train", 1000)
    ledger.record_many(1, np.array([4, 2, 9]), "up", "train", np.array([120, 132, 119]), bits)
    ledger.record_many(0, np.array([2, 4]), "up", "evaluate", np.array([0, 40]))
    (block,) = ledger.blocks()
    assert block.columns["saved_bits"].tolist() == [0, 0, 0, 0, 800 - 733, 0, 704 - 700, 0]
    append(tmp_path / LEDGER.file, Mark(), [block])
    found = list(rows(LEDGER, read_table(tmp_path, LEDGER)))
    assert [row["ideal_bits"] for row in found] == [7744, 7744, 7744, 0, 733, 64, 700, 696]
    assert [tuple(row.values()) for row in found] == ledger.transfers
    again = Ledger.from_state_dict(ledger.state_dict())
    assert again.ideal and again.digest() == Ledger([row._replace(ideal_bits=None) for row in ledger]).digest()


def test_text_is_that_of_json_and_csv(tmp_path: Path) -> None:
    """Against Python's own json of each row, and csv's reading of the CSV."""
    nan = float("nan")
    shared = {"round": 3, "tasks": [["digit", 'odd "name", é', True], ["age", "rmse", False]]}
    columns = {
        "client": np.array([0, 7, 7, -1]),
        "task": np.array([0, 0, 1, 1]),
        "value": np.array([0.1, nan, 1e-300, 2.0]),
        "score": np.array([0.1, nan, 1 / 3, 1e22]),
        "examples": np.array([4, 0, 3, 3]),
        "seconds": np.array([nan, nan, 0.5, 0.25]),
    }
    some = blocks_of(METRICS.name, shared, columns)
    expected = list(rows(METRICS, iter(some)))
    assert expected[0] == {
        "round": 3, "client": 0, "task": "digit", "metric": 'odd "name", é', "value": 0.1, "score": 0.1,
        "higher_is_better": True, "examples": 4, "seconds": None, "part": "test",
    }  # fmt: skip
    assert expected[3]["client"] is None and expected[3]["value"] == 2.0 and expected[3]["metric"] == "rmse"
    assert "".join(json_lines(METRICS, iter(some))) == "".join(
        json.dumps(row | {"format": 2}) + "\n" for row in expected
    )
    texts = {True: "true", False: "false", None: ""}
    found = csv.DictReader(io.StringIO("".join(csv_lines(METRICS, iter(some)))))
    for row, read_back in zip(expected, found, strict=True):
        assert read_back == {k: texts[v] if v is None or isinstance(v, bool) else str(v) for k, v in row.items()}
