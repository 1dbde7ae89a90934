"""CSV of runs with a simulated clock, and of both kinds of runs in one file."""

from pathlib import Path
from typing import Any

from fedmtl.callbacks.csv_file import CSV
from fedmtl.run_experiment import run
from tests.callbacks.test_csv import as_text, read
from tests.callbacks.tiny import experiment

CLOCK = ("simulated_seconds", "simulated_joules")
LINK = "link=Constant(0.05, 0.02)"


def without_clock(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{**row, **dict.fromkeys(CLOCK, "")} for row in as_text(rows)]


def test_a_file_gets_the_clocks_columns_with_the_first_run_that_has_them(tmp_path: Path) -> None:
    table = CSV(path=str(tmp_path / "x.csv"), others=False)
    first = run(experiment(), callbacks=[table])
    assert read(tmp_path / "x.csv") == {"0": as_text(first.rows)}
    timed = run(experiment("seed=1", LINK), callbacks=[table])
    last = run(experiment("seed=2"), callbacks=[table])
    assert timed.rows[-1]["simulated_seconds"] > 0
    assert read(tmp_path / "x.csv") == {
        "0": without_clock(first.rows),
        "1": as_text(timed.rows),
        "2": without_clock(last.rows),
    }
