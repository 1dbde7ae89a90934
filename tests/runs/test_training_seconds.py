"""Training seconds are those of the round in which a client trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedmtl.client.stages import exchange as stages
from fedmtl.run_experiment import run
from fedmtl.runs.result import Result
from tests.test_resume import experiment


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phase of exchange t takes t tenths of a second."""
    kind = next(value for value in vars(stages).values() if hasattr(value, "spend"))
    monkeypatch.setattr(kind, "spend", lambda exchange, phase, start: exchange.round / 10)


def seconds(result: Result) -> dict[int, float | None]:
    """Round -> the seconds of all clients, which have one time between them."""
    found = {row["round"]: row["seconds"] for row in result.rows if row["client"] is None}
    for row in result.rows:
        if row["client"] is not None and row["seconds"] is not None:
            assert 0 < row["seconds"] <= found[row["round"]]
    return {round: spent if spent is None else round_to_tenth(spent) for round, spent in found.items()}


def round_to_tenth(spent: float) -> float:
    assert spent == pytest.approx(round(spent, 1), rel=1e-9)
    return round(spent, 1)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("every", "rounds"), [(1, [1, 2, 3]), (2, [2, 3])])
def test_rows_of_a_round_hold_the_seconds_of_its_training(every: int, rounds: list[int]) -> None:
    """Round t is trained in exchange t and measured one exchange later; round 0 is trained in none."""
    assert seconds(run(experiment(evaluate_every=every))) == {0: None, **{t: t / 10 for t in rounds}}


@pytest.mark.usefixtures("clock")
def test_they_are_the_same_in_a_run_that_is_resumed(tmp_path: Path) -> None:
    """It is left between the training of round 2 and its measurement."""
    chosen = replace(experiment(), name="seconds")
    run(chosen, tmp_path, pause=lambda progress: progress.round == 2)
    assert seconds(run(chosen, tmp_path, resume=True)) == {0: None, 2: 0.2, 3: 0.3}
