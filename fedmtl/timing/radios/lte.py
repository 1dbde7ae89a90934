"""LTE: the radio of a phone of 2012, with a long tail."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.checks import check_range
from fedmtl.timing.radios.base import Phases, linear_joules


@dataclass(frozen=True)
class LTE:
    """The power model of Huang et al. (``base.py``), with their constants; they are old, so give your device's own."""

    source: ClassVar[str] = "Huang et al., MobiSys 2012, doi:10.1145/2307636.2307658"

    up_mw: float = 438.0
    """Milliwatts for each megabit a second that is sent."""
    down_mw: float = 52.0
    """Milliwatts for each megabit a second that is received."""
    base_mw: float = 1288.0
    """Milliwatts while anything is sent or received."""
    tail_mw: float = 1060.0
    """Milliwatts after the last byte, until the radio sleeps."""
    tail_seconds: float = 11.6
    """Seconds from the last byte until the radio sleeps."""

    def __post_init__(self) -> None:
        check_range(self, 0, up_mw=self.up_mw, down_mw=self.down_mw, base_mw=self.base_mw)
        check_range(self, 0, tail_mw=self.tail_mw, tail_seconds=self.tail_seconds)

    def joules(self, phases: Phases) -> NDArray[np.float64]:
        return linear_joules(phases, self.up_mw, self.down_mw, self.base_mw, self.tail_mw, self.tail_seconds)
