"""A round on the simulated clock: its events from the bytes of its packets and the work of its clients.

    download → training → upload, one after the other in each client, all downloads begin with the round        (1)

A client drops out when its availability ends, or at a drawn time, uniform over its way (1). A late client goes on until
its upload ends. Both have wasted the bytes that they moved.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import uniforms
from fedmtl.timing.links.base import NetworkLink
from fedmtl.timing.timing import Timing
from fedmtl.timing.transfer import transfer


class Outcome(IntEnum):
    """End of a client's part of a round."""

    IN_TIME = 0
    LATE = 1
    DROPPED = 2


class RoundWork(NamedTuple):
    """The part of a round that its clients were asked for, [K] each."""

    clients: NDArray[np.int64]
    """Ids, ascending."""
    down_bytes: NDArray[np.float64]
    """Bytes of the packet to each."""
    examples: NDArray[np.float64]
    """Gradients of examples that each takes."""
    up_bytes: NDArray[np.float64]
    """Bytes of the packet from each."""


class RoundTimes(NamedTuple):
    """Events of a round, [K] each but for ``seconds``."""

    clients: NDArray[np.int64]
    outcome: NDArray[np.int64]
    """Numbers of ``Outcome``."""
    download: NDArray[np.float64]
    """Seconds of the download, as far as it came."""
    compute: NDArray[np.float64]
    """Seconds of training."""
    upload: NDArray[np.float64]
    """Seconds of the upload."""
    down_bytes: NDArray[np.float64]
    """Bytes that were moved down."""
    up_bytes: NDArray[np.float64]
    """Bytes that were moved up."""
    joules: NDArray[np.float64]
    """Energy of radio and training."""
    seconds: float
    """From the begin of the round to its end."""

    @property
    def wasted_bytes(self) -> NDArray[np.float64]:
        """Bytes that were moved for updates that were not used, [K]."""
        return np.where(self.outcome == Outcome.IN_TIME, 0.0, self.down_bytes + self.up_bytes)


class _Way(NamedTuple):
    """Seconds since the run began, and bytes, [K] each."""

    downloaded: NDArray[np.float64]
    trained: NDArray[np.float64]
    uploaded: NDArray[np.float64]
    down_bytes: NDArray[np.float64]
    up_bytes: NDArray[np.float64]


def simulate(timing: Timing, seed: int, round: int, start: float, work: RoundWork, size: int) -> RoundTimes:
    """Return the events of a round.

    Args:
        timing: of the experiment.
        seed: of the experiment.
        round: that is trained, from 1.
        start: simulated seconds since the run began.
        work: of the clients that were asked.
        size: of the experiment's cohort.
    """
    clients = work.clients
    begin, training = np.full(len(clients), start), timing.devices.seconds(seed, clients, work.examples)
    never = np.full(len(clients), np.inf)
    way = _way(timing.link, seed, work, begin, training, never)
    leaves = np.maximum(timing.availability.until(seed, clients, begin), start)
    drops = np.zeros(len(clients), bool)
    if timing.availability.dropout:
        drops = uniforms(seed, clients, 2 * round, "dropout") < timing.availability.dropout
        when = start + uniforms(seed, clients, 2 * round + 1, "dropout") * (way.uploaded - start)
        leaves = np.where(drops, np.minimum(leaves, when), leaves)
    dropped = drops | (leaves < way.uploaded)
    leaves = np.where(dropped, leaves, np.inf)
    if dropped.any():
        way = _way(timing.link, seed, work, begin, training, leaves)
    replied, gone = np.where(dropped, np.inf, way.uploaded - start), leaves - start
    closing = timing.policy.close(replied, gone, size)
    outcome = np.where(dropped, Outcome.DROPPED, np.where(closing.in_time, Outcome.IN_TIME, Outcome.LATE))
    times = RoundTimes(
        clients,
        outcome.astype(np.int64),
        way.downloaded - begin,
        way.trained - way.downloaded,
        way.uploaded - way.trained,
        way.down_bytes,
        way.up_bytes,
        never,
        closing.seconds,
    )
    power = timing.devices.watts(seed, clients)
    return times._replace(joules=timing.link.radio.joules(times) + power * times.compute)


def _way(
    link: NetworkLink,
    seed: int,
    work: RoundWork,
    begin: NDArray[np.float64],
    training: NDArray[np.float64],
    leaves: NDArray[np.float64],
) -> _Way:
    """Return (1), cut where clients go away."""
    downloaded, down = transfer(link, seed, work.clients, begin, work.down_bytes, False, leaves)
    trained = np.minimum(downloaded + training, leaves)
    uploaded, up = transfer(link, seed, work.clients, trained, work.up_bytes, True, leaves)
    return _Way(downloaded, trained, uploaded, down, up)
