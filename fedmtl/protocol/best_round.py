"""The best measured round of a run, by the mean score on the validation part: the model that is tested and kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_ROUND = -1
"""In place of a round: none is the best so far, or no run looks for one."""


@dataclass(frozen=True)
class BestRound:
    """The first round with the highest score of those that were measured so far."""

    round: int = NO_ROUND
    score: float = nan
    waited: int = 0
    """Measured rounds since, none of them better."""
    last: int = NO_ROUND
    """The last measured round."""

    def after(self, round: int, score: float) -> "BestRound":
        """Add one more measured round; a score of NaN, of a model that has diverged, is below all others."""
        better = self.round == NO_ROUND or score > self.score or (isnan(self.score) and not isnan(score))
        return BestRound(round, score, 0, round) if better else replace(self, waited=self.waited + 1, last=round)

    def exhausted(self, patience: int) -> bool:
        """Return True when ``patience`` measured rounds, if there is such a bound, have brought no better model."""
        return 0 < patience <= self.waited


class RoundSnapshot(NamedTuple):
    """The server's part of a version that is measured: its clients' states stay on their nodes."""

    version: int
    state: Any
    """The server's state of this version."""
    since: NDArray[np.int64]
    """``Server.since`` at this version."""
    references: Mapping[str, Any] = {}
    """The references of its broadcasts, where there are some, see ``server/references.py``."""
