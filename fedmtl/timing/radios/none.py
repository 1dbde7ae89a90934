"""NoRadio: transfers take no energy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.radios.base import Phases


@dataclass(frozen=True)
class NoRadio:
    """A client on mains, or one whose energy is of no interest."""

    source: ClassVar[str] = "nothing is counted"

    def joules(self, phases: Phases) -> NDArray[np.float64]:
        return np.zeros(len(phases.compute))
