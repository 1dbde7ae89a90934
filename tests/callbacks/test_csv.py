"""CSV holds the rows of the result, of several runs in one file, each once."""

import csv
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedmtl.analysis.log import log_runs
from fedmtl.callbacks.csv_file import CSV
from fedmtl.run_experiment import run
from tests.callbacks.tiny import Stop, experiment, stop_after
from tests.forks import start


def as_text(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows as CSV has them: nothing for None, truths as in JSON."""

    def text(value: Any) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    return [{key: text(value) for key, value in row.items()} for row in rows]


def read(path: Path) -> dict[str, list[dict[str, str]]]:
    """Seed -> rows."""
    found: dict[str, list[dict[str, str]]] = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            of = [row.pop(key) for key in ("run", "name", "method", "seed")]
            found.setdefault(of[3], []).append(row)
    return found


def test_rows_and_ledger(tmp_path: Path) -> None:
    result = run(experiment(), tmp_path / "run", callbacks=["CSV"])
    assert read(tmp_path / "run" / "rows.csv") == {"0": as_text(result.rows)}
    assert read(tmp_path / "run" / "rows.ledger.csv") == {
        "0": [{**row, "ideal_bits": ""} for row in as_text(result.ledger)]
    }
    assert read(tmp_path / "run" / "rows.measures.csv") == {"0": as_text(result.measures)}
    assert read(tmp_path / "run" / "rows.confusion.csv") == {"0": as_text(result.confusion)}


def test_several_runs_in_one_file(tmp_path: Path) -> None:
    """Live, in memory, resumed and after the fact: each run's rows once."""
    path = tmp_path / "x.csv"
    table = CSV(path=str(path), others=False)
    results = [run(experiment(), tmp_path / "a", callbacks=[table]), run(experiment("seed=1"), callbacks=[table])]
    with pytest.raises(Stop):
        run(experiment("seed=2"), tmp_path / "c", on_round=stop_after(1), callbacks=[table])
    results.append(run(experiment("seed=2"), tmp_path / "c", resume=True, callbacks=[table]))
    list(log_runs([tmp_path / "a"], [table]))
    assert read(path) == {str(seed): as_text(result.rows) for seed, result in enumerate(results)}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "c", "x.csv"]


ONE_OF_THREE = """
import json
from fedmtl.callbacks.csv_file import CSV
from fedmtl.run_experiment import run
from tests.callbacks.tiny import experiment

print(json.dumps(run(experiment("seed={seed}"), callbacks=[CSV(path={path!r})]).rows))
"""


def test_processes_share_a_file(tmp_path: Path) -> None:
    """Three at once."""
    path = tmp_path / "x.csv"
    codes = [ONE_OF_THREE.format(seed=seed, path=str(path)) for seed in range(3)]
    processes = [start(code=code, stdout=subprocess.PIPE) for code in codes]
    rows = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert read(path) == {str(seed): as_text(some) for seed, some in enumerate(rows)}


def test_another_file_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n1,2\n")
    run(experiment("rounds=1"), callbacks=[CSV(path=str(path))])
    assert path.read_text() == "a,b\n1,2\n"
    assert [record.message for record in caplog.records if "callback" in record.message] == [
        f"callback {CSV(path=str(path))!r} raised ValueError: {str(path)!r} is no file of this callback: it begins "
        "with 'a,b'; give another path; it is switched off, the run goes on."
    ]


def test_a_link_in_the_folder_is_refused(tmp_path: Path) -> None:
    """A run's folder may come from a stranger."""
    run(experiment("rounds=1"), tmp_path / "run")
    os.symlink(tmp_path / "elsewhere", tmp_path / "run" / "rows.csv")
    with pytest.raises(RuntimeError, match="link"):
        list(log_runs([tmp_path / "run"], [CSV()]))
    assert not (tmp_path / "elsewhere").exists()
