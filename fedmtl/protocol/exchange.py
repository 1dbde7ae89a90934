"""One exchange between the server and its nodes, as data."""

from dataclasses import dataclass

from fedmtl.protocol.best_round import NO_ROUND
from fedmtl.tables.schemas import TEST


@dataclass(frozen=True)
class Exchange:
    """One message to each node and its reply: which model is sent, and whether clients train on it and measure it.

    Version v of the model is the server's state after v rounds, and a client's private state after its last training
    in them; version 0 is the first one.

    >>> Exchange(number=3, version=2, train=True).makes
    3
    """

    number: int
    """Position in the run, from 1; messages, packets and a client's randomness go by it."""
    version: int
    """Version of the model that is sent."""
    train: bool = False
    """True where a cohort trains on it."""
    measure: bool = False
    """True where clients measure it."""
    on: str = TEST
    """The part of their examples that clients measure on, test or valid."""
    full: bool = False
    """True where clients measure all metrics, and not the primary one alone."""
    keep: int = NO_ROUND
    """The best measured version so far, whose private states nodes keep; NO_ROUND where there is none."""
    last: bool = False
    """True for the exchange whose measurements are the run's result."""

    @property
    def makes(self) -> int:
        """The version that training on this one makes."""
        return self.version + 1
