"""Markov: a good and a bad state, the model of Gilbert and Elliott.

    Gilbert. Capacity of a burst-noise channel. Bell System Technical Journal 39, 1960.

A chain in continuous time that leaves the good state at rate λ = 1 / good_seconds and the bad one at μ = 1 /
bad_seconds
is looked at each ``step`` seconds. It has the same law as states that are drawn anew, good with probability
μ / (λ + μ), at the steps n with

    u_n < 1 − exp(−(λ + μ) step)                                                (1)

and kept in between. So the state at any step is that of the last such step before, and needs no history.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import uniforms
from fedmtl.timing.checks import BYTES, check_above, check_range
from fedmtl.timing.radios.base import Radio
from fedmtl.timing.radios.lte import LTE


@dataclass(frozen=True)
class Markov:
    """Bandwidth that breaks down for a while, to a part of itself, in both directions together."""

    down_mbps: float = 20.0
    """Megabits a second of downloads in the good state."""
    up_mbps: float = 5.0
    """Likewise of uploads."""
    bad: float = 0.1
    """Part of the bandwidth that is left in the bad state, from 0 (an outage) to 1."""
    good_seconds: float = 60.0
    """Mean time in the good state."""
    bad_seconds: float = 15.0
    """Mean time in the bad state."""
    step: float = 5.0
    """Seconds from one possible change to the next."""
    radio: Radio = LTE()
    """Energy of transfers."""

    def __post_init__(self) -> None:
        check_above(self, down_mbps=self.down_mbps, up_mbps=self.up_mbps, step=self.step)
        check_above(self, good_seconds=self.good_seconds, bad_seconds=self.bad_seconds)
        check_range(self, 0, 1, bad=self.bad)
        if self.step < 0.001 * min(self.good_seconds, self.bad_seconds):
            raise ValueError(
                f"Markov: step is at least a thousandth of good_seconds and bad_seconds, got {self.step:g}; raise it."
            )

    def is_bad(self, seed: int, clients: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the states of clients in their n-th steps, [K]."""
        rate = 1 / self.good_seconds + 1 / self.bad_seconds
        drawn = -np.expm1(-rate * self.step)  # (1)
        at, left = number.copy(), np.arange(len(clients))
        while len(left):  # back to the last step at which the state was drawn; the first one is
            kept = (uniforms(seed, clients[left], at[left], "link is drawn") >= drawn) & (at[left] > 0)
            left = left[kept]
            at[left] -= 1
        return uniforms(seed, clients, at, "link is bad") < 1 / self.good_seconds / rate

    def rates(
        self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64], upward: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        good = BYTES * (self.up_mbps if upward else self.down_mbps)
        number = np.floor(time / self.step)
        bad = self.is_bad(seed, clients, number.astype(np.int64))
        return np.where(bad, self.bad * good, good), (number + 1) * self.step

    def capacity(self, upward: bool) -> float:
        return np.inf
