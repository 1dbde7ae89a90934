"""A deployment with early stopping, killed and started anew: it stops at the same round, with the same best model."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fedmtl.run_experiment import run
from fedmtl.runs.presets import load_experiment
from fedmtl.tables.schemas import LEDGER, read_table
from tests.processes import kill_all
from tests.runtime.flower_runs import deployment, flwr_run

TINY = Path(__file__).with_name("tiny.toml")
SETTINGS = (
    "rounds=12",
    "valid_fraction=0.25",
    "patience=2",
    "algorithm.lr=0.05",
    "seed=1",
    "up_codec=EF21(TopK(0.2))",
    "down_codec=STC(0.2)",
)


def result(out: Path) -> dict[str, Any]:
    """Return the results that do not depend on the runtime or on restarts."""
    summary = json.loads((out / "summary.json").read_text())
    return {key: summary[key] for key in ("digests", "tasks", "mean_score", "valid_score", "stopped")}


@pytest.mark.slow
def test_killed_after_its_best_round_and_resumed_it_stops_where_it_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SuperLink, SuperNode, ServerApp and ClientApp get SIGKILL when clients have trained on after the best round.

    The private states of that round, and the clients' memories of EF21, are in the node's folder; the server's are in
    the run's. The reference is one process that was never interrupted.
    """
    whole, out, state = (tmp_path / name for name in ("whole", "out", "state"))
    run(load_experiment(TINY, SETTINGS), whole)
    stopped = result(whole)["stopped"]
    best = stopped["best_round"]
    assert 0 < best and stopped["round"] == best + 2 < 12
    monkeypatch.setenv("FEDMTL_TEST_MARK", mark := f"deployed-{os.getpid()}")

    def trained_on() -> bool:
        """Return True if a round after the one that measured the best is in the ledger."""
        blocks = read_table(out, LEDGER) if (out / LEDGER.file).exists() else []
        return max((int(block.columns["round"].max()) for block in blocks), default=0) >= best + 2

    node = [f'partition-id=0 num-partitions=1 state-dir="{state}"']
    overrides = " ".join(SETTINGS)
    with deployment(tmp_path / "home", node):
        assert flwr_run(tmp_path / "home", TINY, overrides, out, until=trained_on) == {}
        kill_all(mark)
    assert not (out / "summary.json").exists()
    before = (out / "rounds.columns").read_bytes()
    with deployment(tmp_path / "home", node):
        flwr_run(tmp_path / "home", TINY, overrides, out, resume=True)
    assert result(out) == result(whole)
    # Rows of rounds hold seconds: those of the first rounds were not written anew.
    assert (out / "rounds.columns").read_bytes().startswith(before[: len(before) // 2])
    for name in ("ledger.jsonl", "model.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
