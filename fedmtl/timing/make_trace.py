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
    rows = ["client,start,end,down_mbps,up_mbps"]
    for client in range(clients):
        one, time = np.array([client]), 0.0
        while time < seconds:
            (down, until), (up, other) = (link.rates(seed, one, np.array([time]), way) for way in (False, True))
            if not np.isfinite([down[0], up[0]]).all():
                raise ValueError(f"{link!r} has infinite bandwidth, which no trace holds; take another link.")
            end = min(float(until[0]), float(other[0]), seconds)
            rates = ",".join(f"{float(rate[0]) / BYTES:.17g}" for rate in (down, up))
            rows.append(f"{client},{time:.17g},{end:.17g},{rates}")
            time = end
    Path(path).write_text("\n".join(rows) + "\n", encoding="utf-8")
