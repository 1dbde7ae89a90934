"""The result of a round, as arrays over clients."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.metrics import Tally
from fedmtl.tables.schemas import TEST
from fedmtl.timing.round_times import RoundTimes


class ClientMetrics(NamedTuple):
    """Metrics of K clients with one set of tasks: of the model after ``round`` rounds, each on its own examples.

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


class TrainingMetric(NamedTuple):
    """A metric of T clients' training in a round, such as the training loss, each from its upload.

    An algorithm that trains on the server has one row, of ``ALL_CLIENTS``.
    """

    clients: NDArray[Any]
    """Ids, ascending, [T] int64."""
    examples: NDArray[Any]
    """n_k, [T] float64."""
    values: NDArray[Any]
    """[T] float32; they may be infinite or NaN. The training loss is the mean over a client's steps."""

    def select(self, rows: NDArray[Any]) -> "TrainingMetric":
        """Select the values of some clients."""
        return TrainingMetric(self.clients[rows], self.examples[rows], self.values[rows])

    def mean(self) -> float:
        """Return Σ n_k value_k / Σ n_k; NaN where a value is not finite, or there is none."""
        if not len(self.clients) or not np.isfinite(self.values).all():
            return math.nan
        return float(self.examples @ self.values.astype(np.float64) / self.examples.sum())


NO_CLIENTS = np.zeros(0, np.int64)


class RoundResult(NamedTuple):
    """The result of a round."""

    measurements: list[ClientMetrics]
    """One for each set of tasks that a client measured; no client is in two of them."""
    trained: NDArray[Any]
    """Clients whose update was used, ascending, [T] int64; none when only raw data came."""
    seconds: NDArray[Any]
    """Their measured training time, [T] float64."""
    problems: dict[ClientId, str]
    """Reasons of the clients that were to send an update and sent none that could be used."""
    rejected: Mapping[str, int] = {}
    """Kind -> replies, packets and sums that were left out, see ``rejections.KINDS``."""
    training: Mapping[str, TrainingMetric] = {}
    """Name -> a metric of the training of the clients whose update was used and holds it."""
    late: NDArray[Any] = NO_CLIENTS
    """Clients whose update came after the round was closed, ascending: its bytes are counted, and it is wasted."""
    times: RoundTimes | None = None
    """Events on the simulated clock, where there is one and clients trained."""
