"""Progress of a run after a round."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fedmtl.protocol.best_round import BestRound
from fedmtl.server.server import Server
from fedmtl.tables.schemas import TEST, TRAINING_PURPOSES


@dataclass(frozen=True)
class Progress:
    """Progress of a run after a round."""

    round: int
    """Exchange that is done: its round, or one more than ``rounds`` where it only measured the last round's model;
    with ``tests``, the best round, whose model is tested."""
    rounds: int
    mean_score: float
    """Mean over tasks of the score over all clients, of the last model that was measured."""
    bytes_up: int
    bytes_down: int
    problems: Mapping[int, str] = field(default_factory=dict)
    part: str = TEST
    """The part of clients' examples that ``mean_score`` is of."""
    tests: bool = False
    """True where this is the test of the best round at the end of a run with validation parts."""
    best: BestRound = BestRound()
    """The best measured round so far, where there are validation parts."""
    bytes_evaluation: int = 0
    """Bytes of measurements, in both directions."""
    measured: bool = True
    """True where this round measured a model; else ``mean_score`` is an earlier one."""
    train_loss: float | None = None
    """Mean training loss of the clients of this round, NaN where one has diverged; None where none is sent."""

    @property
    def ended(self) -> bool:
        """True where no training follows: the model of the last round was measured, or the best one was tested."""
        return self.tests or self.round > self.rounds

    @property
    def where(self) -> str:
        """The round, or the model that was measured after training."""
        if self.tests:
            return f"test, model of round {self.round}"
        return "last model" if self.ended else f"round {self.round}/{self.rounds}"

    @property
    def score_text(self) -> str:
        """The score that this round measured; else its training loss, or that nothing is known: no score of an earlier
        round."""
        if self.measured:
            what = "mean score" if self.part == TEST else "validation score"
            return f"{what} {_number(self.mean_score, '.4f')}"
        return "not measured yet" if self.train_loss is None else f"training loss {_number(self.train_loss, '.4g')}"


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def progress_of(
    server: Server,
    round: int,
    score: float,
    problems: Mapping[int, str],
    tests: bool,
    measured: bool,
    train_loss: float | None,
) -> Progress:
    """Return the progress of a run after a round; arguments are as in ``Progress``."""
    return Progress(
        round=server.best.round if tests else round,
        rounds=server.schedule.rounds,
        mean_score=score,
        bytes_up=server.ledger.total("up", TRAINING_PURPOSES),
        bytes_down=server.ledger.total("down", TRAINING_PURPOSES),
        problems=problems,
        part=TEST if tests else server.schedule.part,
        tests=tests,
        best=server.best,
        bytes_evaluation=sum(server.ledger.total(way, ("evaluate",)) for way in ("up", "down")),
        measured=measured,
        train_loss=train_loss,
    )
