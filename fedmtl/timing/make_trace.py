"""A generator of trace files: any link's bandwidth, written down as CSV.

With ``Markov`` it is the model of Gilbert and Elliott, with ``LogNormal`` clients with unlike medians; both are in this
folder with their sources, so a file needs none of its own.
"""

from pathlib import Path

import numpy as np

from fedmtl.timing.checks import BYTES, check_above
from fedmtl.timing.links.base import NetworkLink


def make_trace(link: NetworkLink, path: str | Path, clients: int = 10, seconds: float = 3600.0, seed: int = 0) -> None:
    """Write the bandwidth of clients 0, 1, … over time to a file that ``Trace`` reads.

    Args:
        link: whose bandwidth is written; finite.
        path: of the file.
        clients: number of traces.
        seconds: length of each.
        seed: of the link's randomness.

    Raises:
        ValueError: a length that is no finite number above 0, no client, or infinite bandwidth.
    """
    check_above(link, clients=clients, seconds=seconds)
    every = np.arange(clients)
    left, time = every, np.zeros(clients)
    found: list[list[tuple[float, ...]]] = [[] for _ in range(clients)]
    while left.size:  # an interval of each client that is not at its end, all at once
        (down, until), (up, other) = (link.rates(seed, left, time, way) for way in (False, True))
        if not np.isfinite([down, up]).all():
            raise ValueError(f"{link!r} has infinite bandwidth, which no trace holds; take another link.")
        end = np.minimum(np.minimum(until, other), seconds)
        for client, *interval in zip(left.tolist(), time, end, down / BYTES, up / BYTES, strict=True):
            found[client].append(tuple(interval))
        left, time = left[end < seconds], end[end < seconds]
    rows = ["client,start,end,down_mbps,up_mbps"]
    for client in every:
        rows += [",".join([f"{client}", *(f"{value:.17g}" for value in interval)]) for interval in found[client]]
    Path(path).write_text("\n".join(rows) + "\n", encoding="utf-8")
