"""What a run leaves when an error ends it, and what is left when it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedmtl.algorithms import FedAvg, Local, Pooled
from fedmtl.analysis import read_run
from fedmtl.core.bounds import one_line
from fedmtl.core.diverged import Diverged
from fedmtl.run_experiment import run
from fedmtl.runs.progress import Progress
from fedmtl.runs.run_failure import Failure, failure_of, read_failure
from tests.toys import experiment


@pytest.mark.parametrize("method", [FedAvg, Local, Pooled])
def test_a_rate_that_no_model_survives_is_a_divergence_with_its_round(tmp_path: Path, method: Any) -> None:
    """A step at a rate of 1e30 gives weights whose error squared is beyond float32: the update is not finite."""
    with pytest.raises(Diverged, match="lower the learning rate"):
        run(experiment(algorithm=method(lr=1e30, epochs=1)), tmp_path / "run")
    failure = read_failure(tmp_path / "run")
    assert failure is not None and failure[:2] == ("diverged", 1)
    assert failure.reason and read_run(tmp_path / "run").failure == failure


def test_another_error_is_a_failure_after_the_rounds_that_are_done_and_a_resume_takes_it_back(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.round == 2:
            raise KeyError("a key\nof mine")

    with pytest.raises(KeyError):
        run(experiment(), tmp_path / "run", on_round=stop)
    assert read_failure(tmp_path / "run") == Failure("failed", 2, "KeyError: 'a key\\nof mine'")
    assert read_run(tmp_path / "run").failure == Failure("failed", 2, "KeyError: 'a key\\nof mine'")
    run(experiment(), tmp_path / "run", resume=True)
    assert not (tmp_path / "run" / "failure.json").exists()
    assert read_run(tmp_path / "run").failure is None


def test_a_mistake_that_is_found_before_the_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        run(experiment(cohort=9), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_reason_is_one_line_of_printable_characters_and_not_long() -> None:
    failure = failure_of(ValueError("a\x1b[31m\n b" + "c" * 5000), 4)
    assert failure.reason.startswith("a\\x1b[31m bccc") and len(failure.reason) < 1100
    assert failure_of(RuntimeError(), 0).reason == "RuntimeError"
    assert one_line("é · ≥") == "é · ≥" and json.dumps(failure._asdict())
