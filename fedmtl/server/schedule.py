"""The schedule of a run: its exchanges, each as data."""

from dataclasses import dataclass

from fedmtl.protocol.best_round import BestRound
from fedmtl.protocol.exchange import Exchange
from fedmtl.tables.schemas import TEST, VALID

NOT_MEASURED = BestRound()
"""The best round before any is measured."""


@dataclass(frozen=True)
class Schedule:
    """The exchanges of a run of synchronous rounds: exchange t sends version t − 1, and trains round t.

    One more exchange measures the version that the last round has made. Where rounds are measured on validation parts,
    the best measured version is tested after it, or once ``patience`` is exhausted.

    >>> run = Schedule(rounds=2, evaluate_every=2)
    >>> [(e.version, e.train, e.measure, e.last) for e in map(run.exchange, range(3))]
    [(0, True, True, False), (1, True, False, False), (2, False, True, True)]
    >>> run.exchange(3) is None
    True

    Args:
        rounds: rounds of training.
        evaluate_every: rounds between measured versions; the first and the last are always measured.
        validates: rounds are measured on validation parts.
        patience: measured rounds without a better score after which training ends; 0 for no such end.
        metrics: versions that are measured by all metrics, one of ``plan.METRICS``.
    """

    rounds: int
    evaluate_every: int = 1
    validates: bool = False
    patience: int = 0
    metrics: str = "last"

    def exchange(self, done: int, best: BestRound = NOT_MEASURED, tested: bool = False) -> Exchange | None:
        """Return the next exchange of a run; None where all are done.

        Args:
            done: exchanges that are done, without the test.
            best: the best measured version so far, where there are validation parts.
            tested: its test is done, too.
        """
        if self.validates and (done > self.rounds or best.exhausted(self.patience)):
            full = self.metrics != "primary"
            test = Exchange(done + 1, best.round, False, True, TEST, full, best.round, last=True)
            return None if tested else test
        if done > self.rounds:
            return None
        train = done < self.rounds
        last = not train and not self.validates
        return Exchange(
            number=done + 1,
            version=done,
            train=train,
            measure=not train or done % self.evaluate_every == 0,
            on=self.part,
            full=self.metrics == "all" or (self.metrics == "last" and last),
            keep=best.round,
            last=last,
        )

    @property
    def part(self) -> str:
        """The part of their examples that clients measure rounds on."""
        return VALID if self.validates else TEST
