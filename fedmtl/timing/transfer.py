"""Transfers: bytes over bandwidth that is piecewise constant in time, integrated exactly."""

import numpy as np
from numpy.typing import NDArray

from fedmtl.timing.links.base import NetworkLink

LONGEST = 30 * 86_400.0
"""Seconds of the longest transfer, a month: one that takes longer is a mistake of the link's numbers."""


def transfer(
    link: NetworkLink,
    seed: int,
    clients: NDArray[np.int64],
    start: NDArray[np.float64],
    size: NDArray[np.float64],
    upward: bool,
    stop: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the time at which each transfer ends, or stops, and the bytes that were moved, [K] both.

    Args:
        link: of the clients.
        seed: of the experiment.
        clients: ids, [K].
        start: simulated seconds since the run began, [K].
        size: bytes, [K].
        upward: True for uploads.
        stop: the time at which each client goes away; None for never.

    Raises:
        RuntimeError: a transfer of more than a month.
    """
    stop = np.full(len(clients), np.inf) if stop is None else stop
    capacity = link.capacity(upward)
    if np.isfinite(capacity):
        return _shared(link, seed, clients, start, size, upward, stop, capacity)
    end, left = np.minimum(start, stop), size.astype(np.float64)
    rows = np.flatnonzero((left > 0) & (end < stop))
    while len(rows):
        rate, until = link.rates(seed, clients[rows], end[rows], upward)
        until = np.minimum(np.maximum(until, np.nextafter(end[rows], np.inf)), stop[rows])
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = left[rows] / rate
            moved = np.minimum(rate * (until - end[rows]), left[rows])
        done = needed <= until - end[rows]
        end[rows] = np.where(done, end[rows] + needed, until)
        left[rows] = np.where(done, 0.0, left[rows] - moved)
        _check_length(clients[rows], end[rows] - start[rows], size[rows])
        rows = rows[~done & (end[rows] < stop[rows])]
    return end, size - left


def _check_length(clients: NDArray[np.int64], seconds: NDArray[np.float64], size: NDArray[np.float64]) -> None:
    if (seconds > LONGEST).any():
        k = int(np.argmax(seconds))
        raise RuntimeError(
            f"Client {clients[k]} would move {size[k]:,.0f} bytes for more than a month; give link more bandwidth."
        )


def fair(rates: NDArray[np.float64], capacity: float) -> NDArray[np.float64]:
    """Return the max-min fair parts of a capacity: min(rate, level), the level such that they sum to it, [K]."""
    if rates.sum() <= capacity:
        return rates
    order = np.sort(rates)
    before = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(order[:-1]), order[:-1], 0.0))])
    levels = (capacity - before) / np.arange(len(order), 0, -1)
    return np.minimum(rates, levels[np.argmax(levels <= order)])


def _shared(
    link: NetworkLink,
    seed: int,
    clients: NDArray[np.int64],
    start: NDArray[np.float64],
    size: NDArray[np.float64],
    upward: bool,
    stop: NDArray[np.float64],
    capacity: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As ``transfer``, for clients that share a capacity: from one event to the next.

    An event is a transfer that begins, ends or stops, or a bandwidth that changes.
    """
    end, left = np.minimum(start, stop), size.astype(np.float64)
    pending = (left > 0) & (start < stop)
    now = float(start[pending].min(initial=np.inf))
    while pending.any():
        rows = np.flatnonzero(pending & (start <= now))
        later = start[pending & (start > now)].min(initial=np.inf)
        if not len(rows):
            now = float(later)
            continue
        rate, until = link.rates(seed, clients[rows], np.full(len(rows), now), upward)
        rate = fair(rate, capacity)
        with np.errstate(divide="ignore"):
            ends = now + left[rows] / rate
        event = float(min(ends.min(), max(until.min(), np.nextafter(now, np.inf)), stop[rows].min(), later))
        done = ends <= event
        left[rows] = np.where(done, 0.0, np.maximum(left[rows] - rate * (event - now), 0.0))
        end[rows] = event
        _check_length(clients[rows], end[rows] - start[rows], size[rows])
        pending[rows[done | (stop[rows] <= event)]] = False
        now = event
    return end, size - left
