"""Trials: runs that never come to the test part, each in a folder in which it goes on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np

from fedmtl.core.diverged import Diverged
from fedmtl.data.base import Federation
from fedmtl.protocol.best_round import BestRound
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.progress import Progress
from fedmtl.tables.schemas import LEDGER, TRAINING_PURPOSES, read_table

COMPLETE, DIVERGED = "complete", "diverged"


@dataclass(frozen=True)
class Trial:
    """Some values, and what they brought."""

    number: int
    values: dict[str, Any]
    state: str
    """"complete", or "diverged" where training ended because no number was finite."""
    rounds: int
    """The last measured round."""
    best_round: int
    score: float
    """The mean score on validation parts after the best round; NaN where there is none."""
    to_best: int
    """Training bytes, both ways, up to the best round."""
    bytes: dict[str, int]
    """All that was sent: training "up" and "down", and "evaluation"."""
    objectives: dict[str, float] = field(default_factory=dict)
    """Rounds of training -> the objective after them; NaN where training diverged."""
    same_as: int | None = None
    """An earlier trial with these values, whose result it is; nothing was sent again."""
    costs: dict[str, float] = field(default_factory=dict)
    """Objective beside the score -> its value, of all training; empty where there is none, or training diverged."""

    def objective(self, rounds: int) -> float:
        return self.objectives.get(f"{rounds}", nan)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without costs where there are none; ``trial_of`` reads them back. JSON has no NaN."""
        none = {key: None if value != value else value for key, value in self.objectives.items()}
        values = {**asdict(self), "score": None if self.score != self.score else self.score, "objectives": none}
        if not self.costs:
            del values["costs"]
        return values


def trial_of(values: Mapping[str, Any]) -> Trial:
    """A trial from plain values."""
    numbers = {key: nan if value is None else value for key, value in values["objectives"].items()}
    return Trial(**{**values, "score": nan if values["score"] is None else values["score"], "objectives": numbers})


def run_trial(
    number: int,
    values: dict[str, Any],
    experiment: Experiment,
    folder: Path,
    rounds: int,
    federation: Federation | None,
    in_process: bool = False,
) -> Trial:
    """Train until a round is measured, or patience ends, or no number is finite; the test part is not touched.

    Args:
        experiment: with the trial's values.
        folder: of the trial; it goes on there.
        rounds: the round that is measured last.
        federation, in_process: as for ``run``.
    """
    best, state = BestRound(), COMPLETE

    def pause(progress: Progress) -> bool:
        nonlocal best
        best = progress.best
        return best.exhausted(experiment.patience) or progress.round > rounds

    try:
        run(experiment, folder, resume=True, pause=pause, federation=federation, in_process=in_process)
    except Diverged:
        state, best = DIVERGED, BestRound()
    sent = {direction: _sent(folder, TRAINING_PURPOSES, (direction,)) for direction in ("up", "down")}
    return Trial(
        number=number,
        values=values,
        state=state,
        rounds=best.last,
        best_round=best.round,
        score=best.score,
        to_best=_sent(folder, TRAINING_PURPOSES, ("up", "down"), best.round) if best.round > 0 else 0,
        bytes={**sent, "evaluation": _sent(folder, ("evaluate",), ("up", "down"))},
    )


def _sent(folder: Path, purposes: tuple[str, ...], directions: tuple[str, ...], last: float = inf) -> int:
    """Bytes that a run's ledger has for some purposes, up to a round."""
    total = 0
    for block in read_table(folder, LEDGER):
        columns, shared = block.columns, block.shared
        some = columns["round"] <= last
        for name, wanted in (("purpose", purposes), ("direction", directions)):
            numbers = [k for k, word in enumerate(shared[f"{name}s"]) if word in wanted]
            some &= np.isin(columns[name], numbers)
        total += int(columns["packet_bytes"][some].sum())
    return total
