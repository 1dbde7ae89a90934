"""What a round brought, as arrays over clients."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fedmtl.comm.tables import TEST
from fedmtl.metrics import Tally
from fedmtl.types import ClientId


class Measurements(NamedTuple):
    """What K clients with one set of tasks measured: the model after ``round`` rounds, each on its own examples.

    The same numbers as K reports of one client; the packets were counted one a client.
    """

    round: int
    clients: NDArray[Any]
    """Ids, ascending, [K] int64."""
    sums: Mapping[str, NDArray[Any]]
    """Task -> sufficient statistics of its metric, a row a client, [K, s] float64; first the number of examples."""
    part: str = TEST
    """The part of their examples: test or valid."""
    tallies: Mapping[str, Tally] = {}
    """Task -> statistics of its other metrics, where the model is measured by all of them."""


class Outcome(NamedTuple):
    """What a round brought."""

    measurements: list[Measurements]
    """One for each set of tasks that somebody measured; no client is in two of them."""
    trained: NDArray[Any]
    """Clients whose update was used, ascending, [T] int64; none when only raw data came."""
    seconds: NDArray[Any]
    """Their measured training time, [T] float64."""
    problems: dict[ClientId, str]
    """Clients that were asked for an update and gave none that could be used, with the reason."""
    rejected: Mapping[str, int] = {}
    """Kind -> replies, packets and sums that were left out, see ``rejections.KINDS``."""
