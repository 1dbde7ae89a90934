"""Runs with a simulated clock."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.algorithms import Mocha, Pooled
from fedmtl.analysis.export import export
from fedmtl.analysis.groups import group_runs
from fedmtl.analysis.load import load_run
from fedmtl.analysis.table import markdown, tabulate
from fedmtl.core.random import rng
from fedmtl.models import Linear
from fedmtl.protocol.exchange import Exchange
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.result import Result
from fedmtl.server.clock import Clock
from fedmtl.server.sampling import sample
from fedmtl.timing.availability import Always, Daily, Windows
from fedmtl.timing.timing import Timing
from tests.toys import experiment

LOSSY: dict[str, Any] = {
    "link": "LogNormal(down_mbps=0.01, up_mbps=0.005, period=0.5)",
    "devices": "DeviceClasses([200, 20], [4, 2], [1, 1])",
    "availability": "Always(dropout=0.2)",
    "policy": "Deadline(0.9)",
    "cohort": 4,
}


@pytest.fixture(scope="module")
def lossy() -> Result:
    return run(experiment(**LOSSY))


def totals(result: Result, metric: str) -> list[float]:
    return [row["value"] for row in result.training if row["client"] is None and row["metric"] == metric]


def test_a_clock_reads_what_the_ledger_says() -> None:
    """A packet of b bytes takes b / 1000 s down and b / 500 s up, and 12 examples and an epoch of 24 a second 0.5 s: a
    round is as long as its slowest client. Nothing else changes."""
    plain = run(experiment())
    timed = run(experiment(link="Constant(0.008, 0.004, NoRadio())", devices="DeviceClasses([24], [3], [1])"))
    assert timed.summary["digests"] == plain.summary["digests"] and timed.ledger == plain.ledger
    spent = dict.fromkeys(range(1, 4), 0.0)
    for round in spent:
        sent = {
            way: {
                row["client"]: row["packet_bytes"]
                for row in timed.ledger
                if (row["round"], row["direction"], row["purpose"]) == (round, way, "train")
            }
            for way in ("down", "up")
        }
        spent[round] = max(sent["down"][c] / 1000 + 0.5 + sent["up"][c] / 500 for c in sent["down"])
    assert totals(timed, "simulated_seconds") == pytest.approx(list(spent.values()), rel=1e-12)
    assert totals(timed, "simulated_joules") == pytest.approx([6 * 0.5 * 3] * 3)
    rows = {row["round"]: (row["simulated_seconds"], row["simulated_joules"]) for row in timed.rows}
    assert rows[0] == (0, 0) and rows[2] == pytest.approx((spent[1] + spent[2], 18)) and len(rows) == 4
    assert timed.summary["simulated"]["seconds"] == pytest.approx(sum(spent.values()))
    assert "simulated_seconds" not in plain.rows[0] and "simulated" not in plain.summary and not plain.training


def test_late_and_dropped_clients(lossy: Result) -> None:
    """Each client that was asked is in time, late or dropped; the packets of those that drop out are not there, and the
    bytes of late ones are wasted."""
    simulated = lossy.summary["simulated"]
    asked, late, dropped = 12, sum(totals(lossy, "simulated_late")), sum(totals(lossy, "simulated_dropped"))
    assert (simulated["in_time"], simulated["late"], simulated["dropped"]) == (asked - late - dropped, late, dropped)
    assert late > 0 and dropped > 0 and lossy.summary["rejected"] == {"late": late}
    up = [row for row in lossy.ledger if (row["direction"], row["purpose"]) == ("up", "train")]
    assert len(up) == asked - dropped
    assert simulated["wasted_bytes"] == pytest.approx(sum(totals(lossy, "simulated_wasted_bytes")))
    each = {(row["round"], row["client"], row["metric"]): row["value"] for row in lossy.training}
    for (round, client, metric), value in each.items():
        if metric == "simulated_late" and client is not None and value:
            trained = [r for r in lossy.ledger if (r["round"], r["client"], r["purpose"]) == (round, client, "train")]
            assert each[round, client, "simulated_wasted_bytes"] == sum(r["packet_bytes"] for r in trained)
    assert max(totals(lossy, "simulated_seconds")) <= 0.9 + 1e-12


def test_a_resumed_run_and_one_on_several_nodes_are_the_same(lossy: Result, tmp_path: Path) -> None:
    first = run(experiment(**LOSSY), tmp_path / "run", pause=lambda progress: progress.round == 2)
    assert first.summary == {}
    again = run(experiment(**LOSSY), tmp_path / "run", resume=True)
    workers = run(experiment(**{**LOSSY, "runtime": "Ray(workers=2)"}), in_process=True)
    for other in (again, workers):
        assert other.summary["digests"] == lossy.summary["digests"]
        assert other.summary["simulated"] == lossy.summary["simulated"]
        assert other.training == lossy.training and other.ledger == lossy.ledger
    lines = "".join(export(tmp_path / "run", "rounds", "csv")).splitlines()
    assert lines[0].endswith(",part,simulated_seconds,simulated_joules") and lines[1].endswith(",test,0.0,0.0")
    assert '"simulated_seconds": 0.0, "simulated_joules": 0.0' in (tmp_path / "run" / "rounds.jsonl").read_text()
    (row,) = tabulate(group_runs([load_run(tmp_path / "run")]), target=0.0)[:1]
    spent = lossy.summary["simulated"]
    assert row.simulated == pytest.approx((spent["seconds"], spent["joules"])) and row.simulated_to_target == (0, 0)
    assert f"| {spent['seconds']:.3g} | {spent['joules']:.0f} |" in markdown([row])


def test_the_best_round_has_its_own_time() -> None:
    changes = {"link": "Constant(0.01, 0.01)", "valid_fraction": 0.25, "rounds": 4, "algorithm": "FedAvg(lr=30)"}
    result = run(experiment(**changes))
    best = result.summary["stopped"]["best_round"]
    spent = {row["round"]: row["simulated_seconds"] for row in result.rows if row["part"] == "valid"}
    tested = [row["simulated_seconds"] for row in result.rows if row["part"] == "test"]
    assert best < 4 and set(tested) == {spent[best]}


def test_all_drop_out_and_the_model_stays(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedmtl"):
        result = run(experiment(availability="Always(dropout=1)", rounds=1))
    assert "round 1: the model stays as it is" in caplog.text and "late or dropped" in caplog.text
    values = {(row["client"], row["task"], row["round"]): row["value"] for row in result.rows}
    assert all(values[client, task, 0] == values[client, task, 1] for client, task, round in values if round == 1)


def test_a_deadline_that_no_client_meets(tmp_path: Path) -> None:
    changes = {"link": "Constant(0.008, 0.004)", "policy": "Deadline(0.01)"}
    with pytest.raises(RuntimeError) as error:
        run(experiment(**changes), tmp_path / "run")
    assert "Round 1: none of 6 clients replies before the round closes after 0.010 simulated seconds" in str(
        error.value
    )
    assert "raise the deadline of policy = Deadline(seconds=0.01)" in str(error.value)


@pytest.mark.parametrize("algorithm", [Mocha(), Pooled()])
def test_methods_that_need_all_uploads_refuse_to_lose_some(algorithm: Any) -> None:
    with pytest.raises(ValueError, match=r"needs the replies of all clients: .*Use AllReplies\(\) and Always\(\)"):
        Experiment(algorithm=algorithm, model=Linear(intercept=False), policy="Deadline(5)")
    Experiment(algorithm=algorithm, model=Linear(intercept=False), link="Constant")


def test_the_raw_data_of_a_central_method_takes_time() -> None:
    """Only in the first round: then the server trains alone."""
    result = run(experiment(algorithm=Pooled(epochs=1), link="Constant(0.008, 0.004, NoRadio())", rounds=2))
    sent = [row for row in result.ledger if row["purpose"] == "raw_data" or row["direction"] == "down"]
    up = max(row["packet_bytes"] for row in sent if row["direction"] == "up")
    down = {row["packet_bytes"] for row in sent if (row["direction"], row["round"]) == ("down", 1)} or {0}
    assert totals(result, "simulated_seconds") == pytest.approx([up / 500], abs=max(down) / 1000 + 1e-9)


def clock(availability: Any, size: int = 10) -> Clock:
    return Clock(Timing(availability=availability), 7, size, 1)


def test_cohorts_are_drawn_among_available_clients(tmp_path: Path) -> None:
    """All of them as often: 300 rounds of 10 of the 50 even clients, each in 60 ± 4 · 6.9."""
    rows = [f"{c},{0 if c % 2 == 0 else 50_000},{86_400 if c % 2 == 0 else 50_001}" for c in range(100)]
    (tmp_path / "windows.csv").write_text("client,start,end\n" + "\n".join(rows))
    present, counts, windows = np.arange(100), np.zeros(100), Windows(str(tmp_path / "windows.csv"))
    for round in range(1, 301):
        cohort = clock(windows).ask(Exchange(round, round - 1), present)
        assert len(cohort) == 10 and (np.diff(cohort) > 0).all() and (cohort % 2 == 0).all()
        counts[cohort] += 1
    assert (abs(counts[::2] - 60) < 28).all()
    assert len(clock(windows, 80).ask(Exchange(1, 0), present)) == 50
    always = clock(Always(dropout=0.5)).ask(Exchange(3, 2), present)
    assert always.tolist() == sample(7, 3, present, 10).tolist()  # as without a clock


def test_the_server_waits_for_clients(tmp_path: Path) -> None:
    """Until 01:00, when the first one comes; where none comes within a day, that is an error."""
    (tmp_path / "windows.csv").write_text("client,start,end\n0,3600,7200\n")
    late = clock(Windows(str(tmp_path / "windows.csv")))
    assert late.ask(Exchange(1, 0), np.arange(1)).tolist() == [0] and late._begin == 3600
    never = clock(Windows(str(tmp_path / "windows.csv"), seconds=1e6))
    never.now = 10_000.0
    with pytest.raises(RuntimeError, match="none of 1 clients is available within a day after 10000 simulated seconds"):
        never.ask(Exchange(1, 0), np.arange(1))


def test_a_cohort_of_a_million_is_drawn_in_milliseconds(tmp_path: Path) -> None:
    """1,000 of 1,000,000 clients with 1,000 traces between them; the bar is 50 ms, beside other processes."""
    draw = rng(0, 0, 0, "windows")
    rows = [f"{c},{s:.0f},{s + 20_000:.0f}" for c, s in enumerate(draw.uniform(0, 60_000, 1000))]
    (tmp_path / "windows.csv").write_text("client,start,end\n" + "\n".join(rows))
    present, spent = np.arange(1_000_000), []
    for availability in (Windows(str(tmp_path / "windows.csv"), shuffle=True), Daily()):
        one = clock(availability, 1000)
        one.now = 80_000.0
        for round in range(1, 4):
            start = time.perf_counter()
            assert len(one.ask(Exchange(round, round - 1), present)) == 1000
            spent.append(time.perf_counter() - start)
    assert min(spent[:3]) < 0.05 and min(spent[3:]) < 0.05
