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


def last(replied: NDArray[np.float64], gone: NDArray[np.float64]) -> float:
    """Return the seconds after which no reply can come any more."""
    return float(np.minimum(replied, gone).max(initial=0.0))
