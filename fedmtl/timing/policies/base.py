"""The protocol of policies."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Closing(NamedTuple):
    """The end of a round."""

    seconds: float
    """From its begin."""
    in_time: NDArray[np.bool_]
    """Replies whose updates are used, [K]."""


class Policy(Protocol):
    """The rule by which a round closes. A frozen dataclass, final."""

    @property
    def needs_all(self) -> bool:
        """True where no reply is late."""
        ...

    @property
    def asynchronous(self) -> bool:
        """True where replies that have not come are for a later step, and not late."""
        ...

    def asked(self, size: int) -> int:
        """Return the number of clients that a round asks.

        Args:
            size: of the experiment's cohort.
        """
        ...

    def close(self, replied: NDArray[np.float64], gone: NDArray[np.float64], size: int) -> Closing:
        """Return the end of a round.

        Args:
            replied: seconds from the begin of the round to the end of each client's upload; infinity for a client that
                dropped out, [K].
            gone: seconds to the time at which each client dropped out, which the server notices at once; infinity for
                the others, [K].
            size: of the experiment's cohort.
        """
        ...


class AsynchronousPolicy(Policy, Protocol):
    """The rule by which the server makes a step while clients train on earlier versions."""

    def arrivals(self, ends: NDArray[np.float64], begin: float, size: int) -> tuple[int, float]:
        """Return the number of updates of the next step, the first ones to come, and the time of the step.

        Args:
            ends: simulated times at which the uploads under way end, ascending, one at least, [F].
            begin: of the exchange.
            size: of the experiment's cohort.
        """
        ...

    def weigh(
        self, update: NDArray[np.float32], sent: NDArray[np.float32], now: NDArray[np.float32], staleness: int
    ) -> NDArray[np.float32]:
        """Return what the server aggregates in place of an update, [size].

        Args:
            update: the numbers that a client has come to.
            sent: those of the version that it was sent, 0 for numbers that were not.
            now: those of the version that the step begins from.
            staleness: versions between them.
        """
        ...


def last(replied: NDArray[np.float64], gone: NDArray[np.float64]) -> float:
    """Return the seconds after which no reply can come any more."""
    return float(np.minimum(replied, gone).max(initial=0.0))
