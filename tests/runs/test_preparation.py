"""The packets of a preparation in the ledger: on every runtime and after a resume the same rows, counted once."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmtl.analysis.load import load_run
from fedmtl.data import Standardised, from_frame
from fedmtl.run_experiment import run
from fedmtl.runs.result import Result
from tests import toys

DATA = Standardised(toys.ALIKE)
UP, DOWN = 32 + 4 * 20, 32 + 4 * 16
"""A header, and of four features count, mean and squared deviations; down mean and standard deviation."""


def experiment(**settings: Any) -> Any:
    return toys.experiment(**{"data": DATA, "rounds": 2, "augment": "Jitter(0.1)", **settings})


@pytest.fixture(scope="module")
def reference() -> Result:
    return run(experiment())


def prepared(result: Any) -> list[dict[str, Any]]:
    return [row for row in result.ledger if row["purpose"] == "prepare"]


def test_each_client_sends_and_receives_one_packet_before_the_first_round(reference: Result) -> None:
    rows = prepared(reference)
    assert rows == reference.ledger[:12]
    assert [(row["round"], row["client"], row["direction"], row["packet_bytes"]) for row in rows] == [
        *((0, client, "down", DOWN) for client in range(6)),
        *((0, client, "up", UP) for client in range(6)),
    ]
    found = reference.summary["bytes"]
    assert found["prepare"] == {"up": 6 * UP, "down": 6 * DOWN, "total": 6 * (UP + DOWN)}
    sent = {way: sum(r["packet_bytes"] for r in reference.ledger if r["direction"] == way) for way in ("up", "down")}
    assert (found["up"], found["down"]) == (sent["up"], sent["down"])
    training = [row for row in reference.ledger if row["purpose"] in ("train", "prepare")]
    assert found["train"]["total"] == sum(row["packet_bytes"] for row in training)


def test_a_run_without_a_preparation_is_as_before() -> None:
    plain = run(experiment(data=toys.ALIKE))
    assert "prepare" not in plain.summary["bytes"] and not prepared(plain)
    alone = run(experiment(data=Standardised(toys.ALIKE, "client")))
    assert not prepared(alone) and alone.summary["digests"]["ledger"] == plain.summary["digests"]["ledger"]


def test_ledgers_are_equal_everywhere(reference: Result) -> None:
    """And with a loop in Ray's workers the augmented model has the same bits."""
    stacked, ray = run(experiment(engine="vmap")), run(experiment(runtime="Ray(workers=2)"))
    assert stacked.ledger == ray.ledger == reference.ledger
    assert stacked.summary["digests"]["ledger"] == reference.summary["digests"]["ledger"]
    assert ray.summary["digests"] == reference.summary["digests"]


class Rows:
    """A callback that keeps the rows of the ledger."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def start(self, run: Any) -> None: ...

    def rows(self, writer: Any, table: str, rows: Any) -> None:
        self.sent += [dict(row) for row in rows] if table == "ledger" else []

    def end(self, writer: Any, summary: Any) -> None: ...


def test_a_resumed_run_has_counted_it_once(reference: Result, tmp_path: Path) -> None:
    seen = [Rows(), Rows()]
    run(experiment(), tmp_path / "run", pause=lambda progress: progress.round == 1, callbacks=[seen[0]])
    resumed = run(experiment(), tmp_path / "run", resume=True, callbacks=[seen[1]])
    assert resumed.summary["digests"] == reference.summary["digests"]
    assert resumed.ledger == reference.ledger
    for each in seen:
        assert [row["purpose"] for row in each.sent].count("prepare") == 12
    assert len(seen[1].sent) == len(reference.ledger)
    found = load_run(tmp_path / "run")
    assert found.training_bytes() == reference.summary["bytes"]["train"]["total"]
    curve = found.mean_score_curve()
    assert curve.bytes[0] == 0 and curve.bytes[1] > 6 * (UP + DOWN)


def test_another_vocabulary_is_another_plan() -> None:
    """So that a node whose site has other words, or other statistics, is refused."""
    texts = ["good camera", "bad phone", "good phone", "bad lens"] * 3
    table = pd.DataFrame({"shop": ["a", "b"] * 6, "review": texts, "mood": [1, 0, 1, 0] * 3})

    def digest(table: Any, **options: Any) -> bytes:
        schema = from_frame(table, "shop", ["mood"], text="review", length=8, **options).load(0).schema
        own = experiment(model="BagOfEmbeddings(vocabulary=20)", augment=[])
        return own.make_plan(schema).digest

    assert digest(table) == digest(table.copy())
    assert digest(table) != digest(table.assign(review=[text.replace("lens", "film") for text in texts]))
    assert digest(table) != digest(table, words_sent=1)
