"""The protocol of devices."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Devices(Protocol):
    """The devices of all clients. A frozen dataclass, final; a device is a function of (seed, client)."""

    def seconds(self, seed: int, clients: NDArray[np.int64], examples: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds of training, [K].

        Args:
            seed: of the experiment.
            clients: ids, [K].
            examples: gradients of examples that each client takes: passes over its examples times their number, [K].
        """
        ...

    def watts(self, seed: int, clients: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the power while training, [K]."""
        ...
