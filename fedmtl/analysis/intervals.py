"""The one statistic of a study: a mean over seeds, with the 95 % interval of Student's t.

Over n values x_s, one a seed, with mean x̄ and sample standard deviation s,

    x̄ ± t s / √n,        t the 0.975 quantile of Student's t with n − 1 degrees of freedom             (1)

With two seeds t is 12.7, and the interval holds everything; so there is one from three seeds on.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

LEAST_SEEDS = 3
"""Seeds from which on there is an interval."""

ENOUGH_SEEDS = 5
"""Seeds with which an interval is of use: t is 2.8."""


class Estimate(NamedTuple):
    """A mean over seeds, and its interval (1)."""

    mean: float
    half: float | None
    """Half the width of the interval; None with fewer than ``LEAST_SEEDS``."""

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.half is None else self.mean + self.half


def estimate(values: Sequence[float]) -> Estimate:
    """(1) of one value a seed; NaN of none."""
    if not len(values):
        return Estimate(float("nan"), None)
    half = half_widths(np.asarray(values, float)[:, None])
    return Estimate(float(np.mean(values)), None if half is None else half[0])


def half_widths(values: np.ndarray) -> list[float] | None:
    """Half the width of (1) of each column of values [seeds, n]; None with fewer than ``LEAST_SEEDS``."""
    seeds = len(values)
    if seeds < LEAST_SEEDS:
        return None
    return (_quantile(seeds - 1) * values.std(axis=0, ddof=1) / seeds**0.5).tolist()


def too_few(seeds: int) -> str:
    """The reason why there is no interval: ``2 seeds are too few for an interval: 5 would do``."""
    return f"{seeds} seed{'s are' if seeds != 1 else ' is'} too few for an interval: {ENOUGH_SEEDS} would do"


@cache
def _quantile(freedom: int) -> float:
    # Imported here, as most commands need no interval; scipy.stats has the same numbers and takes a second.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
