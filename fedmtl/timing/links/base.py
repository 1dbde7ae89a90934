"""The protocol of links."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.radios.base import Radio


class NetworkLink(Protocol):
    """Links of clients to the server: bandwidth that is piecewise constant in time. A frozen dataclass, final."""

    @property
    def radio(self) -> Radio:
        """The radio that transfers run over, which gives their energy."""
        ...

    def rates(
        self, seed: int, clients: NDArray[np.int64], time: NDArray[np.float64], upward: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return bytes a second at a time, and the time until which they stay so, [K] both.

        They are functions of the arguments alone. A rate may be 0 or infinite; the time of the change is later than
        ``time``, or infinity.

        Args:
            seed: of the experiment.
            clients: ids, [K].
            time: simulated seconds since the run began, [K].
            upward: True for uploads, False for downloads.
        """
        ...

    def capacity(self, upward: bool) -> float:
        """Return bytes a second that all clients share at the server; infinity where they share nothing."""
        ...
