"""Measurements in columns: the same rows in any grouping, as dicts or as lines, kept small or not."""

import hashlib
import json
import math
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.core.file_format import FORMAT
from fedmtl.runs.columns import RoundMetrics, blocks, by_task, digest, pack_metrics, round_score, rows, unpack_metrics
from fedmtl.server.round_result import ClientMetrics
from fedmtl.tables.blocks import Mark, append, read
from fedmtl.tables.lines import json_lines
from fedmtl.tables.schemas import METRICS
from fedmtl.tables.schemas import rows as rows_in
from fedmtl.tasks import MultiClass, Regression
from fedmtl.tasks.base import Task

TASKS: dict[str, Any] = {"digit": MultiClass(3), "age": Regression(mean=40.0, std=10.0)}

BOTH = ClientMetrics(
    2,
    np.array([1, 4]),
    {"age": np.array([[5.0, 1.25], [10.0, 0.1]]), "digit": np.array([[8.0, 6.0], [8.0, 2.0]])},
)
ONE = ClientMetrics(2, np.array([0, 3]), {"digit": np.array([[4.0, 4.0], [0.0, 0.0]])})
TRAINED, SECONDS = np.array([0, 4]), np.array([0.5, 0.25])

WRITTEN_OUT = [
    (0, "digit", 1.0, 1.0, 4, 0.5),
    (1, "age", 10.0 * math.sqrt(0.25), 1 - 0.25, 5, None),
    (1, "digit", 0.75, 0.75, 8, None),
    (3, "digit", None, None, 0, None),
    (4, "age", 10.0 * math.sqrt(0.01), 1 - 0.01, 10, 0.25),
    (4, "digit", 0.25, 0.25, 8, 0.25),
    (None, "age", 10.0 * math.sqrt(1.35 / 15), 1 - 1.35 / 15, 15, 0.75),
    (None, "digit", 12 / 20, 12 / 20, 20, 0.75),
]
"""Client, task, value, score, examples, seconds. Statistics of a class are [n, right ones], of a number [n, Σ e²]:
rmse = 10 √(Σ e² / n), score = 1 − Σ e² / n. Client 3 has no labelled example."""


def measured() -> RoundMetrics:
    found = by_task([BOTH, ONE], TRAINED, SECONDS)
    assert found is not None
    return found


def lines(tasks: Mapping[str, Task], found: RoundMetrics) -> str:
    return "".join(json_lines(METRICS, iter(blocks(tasks, found))))


def test_the_rows_written_out() -> None:
    found = list(rows(TASKS, measured()))
    keys = ["round", "client", "task", "metric", "value", "score", "higher_is_better", "examples", "seconds", "part"]
    assert all(list(row) == keys for row in found)
    for row, (client, task, value, score, examples, seconds) in zip(found, WRITTEN_OUT, strict=True):
        assert (row["round"], row["client"], row["task"], row["examples"]) == (2, client, task, examples)
        if value is None:
            assert row["value"] is None and row["score"] is None
        else:
            assert (row["value"], row["score"]) == pytest.approx((value, score), rel=1e-12)
        assert row["seconds"] == seconds
        assert (row["metric"], row["higher_is_better"]) == {"digit": ("accuracy", True), "age": ("rmse", False)}[task]
        assert {type(row[key]) for key in ("round", "examples")} == {int}


def test_rows_say_their_part() -> None:
    """Of the test part nothing is said on disk, and digests are as they were; of another part both say it."""
    test, valid = measured(), measured()._replace(part="valid")
    assert {row["part"] for row in rows(TASKS, test)} == {"test"}
    assert {row["part"] for row in rows(TASKS, valid)} == {"valid"}
    assert all("part" not in block.shared for block in blocks(TASKS, test))
    assert unpack_metrics(pack_metrics(valid)).part == "valid"
    assert digest("", valid) != digest("", test)


def test_lines_are_the_rows_as_json_writes_them() -> None:
    assert lines(TASKS, measured()) == "".join(
        json.dumps(row | {"format": FORMAT}) + "\n" for row in rows(TASKS, measured())
    )
    tasks = {'d"\n': MultiClass(3)}  # a name that JSON must escape
    found = by_task(
        [ClientMetrics(0, np.array([0]), {'d"\n': np.array([[3.0, 1.0]])})], np.array([], np.int64), np.array([])
    )
    assert found is not None
    assert lines(tasks, found) == "".join(json.dumps(row | {"format": FORMAT}) + "\n" for row in rows(tasks, found))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_null(value: float) -> None:
    found = by_task(
        [ClientMetrics(1, np.array([0, 1]), {"age": np.array([[2.0, value], [2.0, 1.0]])})], TRAINED, SECONDS
    )
    assert found is not None
    assert [row["value"] is None for row in rows(TASKS, found)] == [True, False, True]
    assert lines(TASKS, found).count('"value": null, "score": null') == 2
    assert math.isnan(round_score(TASKS, found))


def test_the_mean_score_is_over_tasks_with_labels() -> None:
    assert round_score(TASKS, measured()) == pytest.approx((12 / 20 + 1 - 1.35 / 15) / 2, rel=1e-12)
    nobody = ClientMetrics(2, np.array([0]), {"age": np.zeros((1, 2)), "digit": np.array([[4.0, 1.0]])})
    found = by_task([nobody], TRAINED, SECONDS)
    assert found is not None and round_score(TASKS, found) == 0.25


def test_nothing_measured_is_none() -> None:
    assert by_task([], TRAINED, SECONDS) is None


def split(one: ClientMetrics) -> list[ClientMetrics]:
    """A measurement a client, as a node of its own would send it; in another memory layout."""
    return [
        ClientMetrics(
            one.round, one.clients[k : k + 1], {t: np.asfortranarray(s[k : k + 1]) for t, s in one.sums.items()}
        )
        for k in range(len(one.clients))
    ]


def test_grouping_changes_nothing() -> None:
    other = by_task([*reversed(split(BOTH)), *split(ONE)], TRAINED, SECONDS)
    assert other is not None
    assert list(rows(TASKS, other)) == list(rows(TASKS, measured()))
    assert digest("", other) == digest("", measured())


def test_what_is_kept_comes_back_bit_for_bit() -> None:
    kept = pickle.loads(pickle.dumps(pack_metrics(measured())))
    assert list(rows(TASKS, unpack_metrics(kept))) == list(rows(TASKS, measured()))
    assert digest("", unpack_metrics(kept)) == digest("", measured())


def test_a_row_of_counts_is_kept_in_a_few_bytes() -> None:
    """Statistics [32, right ones]: eight bytes raw for each number and id."""
    right = np.random.default_rng(0).binomial(32, 0.8, 10_000).astype(np.float64)
    sums = np.stack([np.full(10_000, 32.0), right], axis=1)
    found = by_task([ClientMetrics(1, np.arange(10_000), {"digit": sums})], TRAINED, SECONDS)
    assert found is not None
    assert len(pickle.dumps(pack_metrics(found))) < 12_000


def test_a_measurement_of_a_whole_population_takes_a_few_bytes_a_row(tmp_path: Path) -> None:
    """160 bytes as a line of JSON. Clients own the tasks in turn; a thousand of 200,000 have trained."""
    draw, count = np.random.default_rng(0), 200_000
    trained = np.sort(draw.choice(count, 1000, replace=False))
    sums = {
        name: (np.arange(start, count, 2), np.stack([np.full(count // 2, 4.0), some], axis=1))
        for start, (name, some) in enumerate(
            {"age": draw.chisquare(4, count // 2), "digit": draw.binomial(4, 0.5, count // 2).astype(float)}.items()
        )
    }
    found = RoundMetrics(1, sums, trained, np.full(1000, 0.125))
    mark = append(tmp_path / METRICS.file, Mark(), blocks(TASKS, found))
    assert mark.lines == count + 2
    # Value and score of a number are 16 bytes, those of one of five counts less than one.
    assert mark.bytes < count // 2 * 17 + count // 2 * 17 + 100_000
    again = rows_in(METRICS, read(tmp_path / METRICS.file, METRICS.name, mark))
    assert all(one == other for one, other in zip(again, rows(TASKS, found), strict=True))


# Digest


def test_the_digest_is_what_it_says() -> None:
    """Round; task, 0, number of clients, clients, statistics row by row; tasks by name; after the digest before."""
    text = struct.pack("<q", 2)
    text += b"age\0" + struct.pack("<3q", 2, 1, 4) + struct.pack("<4d", 5, 1.25, 10, 0.1)
    text += b"digit\0" + struct.pack("<5q", 4, 0, 1, 3, 4) + struct.pack("<8d", 4, 4, 8, 6, 0, 0, 8, 2)
    first = hashlib.sha256(text)
    assert digest("", measured()) == first.hexdigest()
    assert digest(first.hexdigest(), measured()) == hashlib.sha256(first.digest() + text).hexdigest()


def test_the_digest_knows_no_seconds_and_one_nan() -> None:
    assert digest("", measured()._replace(seconds=2 * SECONDS)) == digest("", measured())
    nans = [np.array([[2.0, nan]]) for nan in (np.nan, -np.nan)]
    assert nans[0].tobytes() != nans[1].tobytes()
    one, other = (measured()._replace(sums={"age": (np.array([0]), nan)}) for nan in nans)
    assert digest("", one) == digest("", other)
