"""Packets of a preparation, by which clients agree on statistics and words before the first round, to be counted."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Prepared(NamedTuple):
    """Lengths of the bodies that clients and server exchanged, once: each client sends one, and receives one."""

    clients: NDArray[np.int64]
    """Ascending, [K]."""
    up: NDArray[np.int64]
    """Bytes of each client's summary, [K]."""
    down: int
    """Bytes of what was agreed, which all of them receive."""


def exchanged(sent: dict[int, bytes], agreed: bytes) -> Prepared:
    """The lengths of an exchange, from its bodies."""
    clients = np.array(sorted(sent), np.int64)
    return Prepared(clients, np.array([len(sent[client]) for client in clients.tolist()], np.int64), len(agreed))
