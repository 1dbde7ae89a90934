"""The simulated clock of a run, which is its round policy: cohorts are drawn among the clients that are available, and
the times of transfers and training decide which replies are late or never come.

Nodes train when they are asked, whatever the clock reads; the clock has no effect on the time that a run takes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import SERVER, rng
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.wire_model import FlowerWire
from fedmtl.server.in_flight import InFlight
from fedmtl.server.policy import Arrivals
from fedmtl.server.replies import RoundReplies
from fedmtl.server.sampling import sample
from fedmtl.timing.availability.always import Always
from fedmtl.timing.availability.base import DAY
from fedmtl.timing.round_times import Outcome, RoundTimes, RoundWork, simulate
from fedmtl.timing.timing import Timing

PAUSE = 60.0
"""Simulated seconds that the server waits where no client is available."""

COUNTS = {Outcome.IN_TIME: "in_time", Outcome.LATE: "late", Outcome.DROPPED: "dropped"}


class Clock:
    """Simulated seconds and joules of a run, a function of its experiment and its packets.

    Args:
        timing: links, devices, availability and policy.
        seed: of the experiment.
        size: clients of a cohort.
        passes: over its examples that a client trains in a round.
        seconds: most seconds that a round takes in earnest; None for no limit.
    """

    def __init__(self, timing: Timing, seed: int, size: int, passes: int, seconds: float | None = None) -> None:
        self.timing = timing
        self._seed, self._size, self._passes, self._wait = seed, size, passes, seconds
        self.now = 0.0
        """Simulated seconds since the run began."""
        self.joules = 0.0
        self.wasted_bytes = 0.0
        self.outcomes = dict.fromkeys(COUNTS.values(), 0)
        """Clients in time, late and dropped, over all rounds."""
        self.sent = self.best = (0.0, 0.0)
        """Seconds and joules that the version of the latest exchange took, and the best measured one."""
        self._begin: float | None = None
        """Begin of the round that is open, where clients were sampled."""
        self._times: RoundTimes | None = None
        policy: Any = timing.policy
        self.flight = InFlight(policy) if timing.policy.asynchronous else None
        """Updates under way, where rounds are asynchronous."""

    @property
    def needs_all(self) -> bool:
        return self.timing.needs_all

    def ask(self, exchange: Exchange, present: NDArray[np.int64]) -> NDArray[np.int64]:
        """As in ``RoundPolicy``; where no client is available, the server waits.

        Raises:
            RuntimeError: no client is available within a day.
        """
        size = min(self.timing.policy.asked(self._size), len(present))
        self._begin = self.now
        if self.flight is not None:
            flying = self.flight.clients
            present, size = present[~np.isin(present, flying)], min(size, len(present)) - len(flying)
        if isinstance(self.timing.availability, Always):
            return sample(self._seed, exchange.number, present, size)
        while self._begin <= self.now + DAY:
            found = self._available(exchange.number, present, size, self._begin)
            if len(found) or self.flight is not None and len(self.flight.clients):
                return found
            self._begin += PAUSE
        raise RuntimeError(
            f"Round {exchange.number}: none of {len(present)} clients is available within a day after {self.now:.0f} "
            f"simulated seconds; change availability = {self.timing.availability!r}."
        )

    def _available(self, round: int, present: NDArray[np.int64], size: int, time: float) -> NDArray[np.int64]:
        """Sample available clients without replacement, ascending: fewer where there are not enough.

        Clients are drawn in random order and looked at until enough are available, so the population may be large.
        """
        most, count, attempt = len(present), min(len(present), 2 * size + 32), 0
        while True:
            draw = rng(self._seed, round, SERVER, f"available {attempt}")
            some = present[draw.choice(most, size=count, replace=False)]
            there = some[self.timing.availability.until(self._seed, some, np.full(count, time)) > time]
            if len(there) >= size or count == most:
                return np.sort(there[:size])
            count, attempt = min(most, 4 * count), attempt + 1

    def wait_seconds(self, exchange: Exchange) -> float | None:
        return self._wait

    def elapse(self, received: RoundReplies) -> RoundTimes | None:
        """Advance by the round that the replies close, and return its events; None where no client was to train.

        Raises:
            RuntimeError: no client has met the policy's deadline, in this round or an earlier one.
        """
        requests, number = received.requests, received.round
        self.sent, begin = (self.now, self.joules), self.now if self._begin is None else self._begin
        self._begin = self._times = None
        busy = requests.train | requests.raw_data
        if not busy.any() and not (self.flight is not None and requests.exchange.train):
            return None
        clients, known = requests.clients[busy], received.examples_of(requests.clients[busy], 0)
        examples = np.zeros(len(clients)) if known is None else self._passes * known.astype(np.float64)
        down, up = self._moved(requests.packets.lengths[busy], received.update_bytes()[busy])
        work = RoundWork(clients, down, np.where(requests.train[busy], examples, 0.0), up)
        times = simulate(self.timing, self._seed, number, begin, work, min(self._size, len(clients)))
        counts = np.bincount(times.outcome, minlength=len(COUNTS))
        if not counts[Outcome.IN_TIME] and counts[Outcome.LATE] and not self.outcomes["in_time"]:
            late = times.outcome == Outcome.LATE
            first = float((times.download + times.compute + times.upload)[late].min())
            raise RuntimeError(
                f"Round {number}: none of {len(clients)} clients replies before the round closes after "
                f"{times.seconds:.3f} simulated seconds, the first one after {first:.3f}; raise the deadline of policy "
                f"= {self.timing.policy!r}, or give link and devices more speed."
            )
        for outcome, name in COUNTS.items():
            self.outcomes[name] += int(counts[outcome])
        self.now = begin + times.seconds if self.flight is None else self._next_step(self.flight, begin, times)
        self.joules += float(times.joules.sum())
        self.wasted_bytes += float(times.wasted_bytes.sum())
        received.lost[np.flatnonzero(busy)[times.outcome == Outcome.DROPPED]] = True
        self._times = times._replace(seconds=self.now - self.sent[0])
        return self._times

    def _moved(
        self, down: NDArray[np.int64], up: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the bytes that clients move for their packets: each direction of the wire in one transfer."""
        if self.timing.wire:
            down, up = FlowerWire().of_devices(np.stack([down, up.astype(np.int64)]), np.ones((2, len(down)), bool))[1]
        return down.astype(np.float64), up.astype(np.float64)

    def _next_step(self, flight: InFlight, begin: float, times: RoundTimes) -> float:
        """Return the time of the server's next step, with the clients of a round under way, too."""
        replies = times.outcome == Outcome.IN_TIME
        ends = begin + (times.download + times.compute + times.upload)[replies]
        flight.ends |= dict(zip(times.clients[replies].tolist(), ends.tolist(), strict=True))
        step = flight.arrive(begin, self._size)
        return begin + times.seconds if step is None else step

    def close(self, exchange: Exchange, arrivals: Arrivals) -> NDArray[np.bool_]:
        if self._times is None:  # nothing was to be trained
            return np.ones(len(arrivals.clients), bool)
        place = np.searchsorted(self._times.clients, arrivals.clients)
        return self._times.outcome[place] == Outcome.IN_TIME

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for ``load_state_dict``."""
        return {
            "now": self.now,
            "joules": self.joules,
            "wasted_bytes": self.wasted_bytes,
            "outcomes": self.outcomes,
            "best": list(self.best),
        }

    def load_state_dict(self, note: Mapping[str, Any]) -> None:
        """Go on where a note was taken.

        Raises:
            ValueError, KeyError, TypeError: a note that no run writes.
        """
        numbers = [note["now"], note["joules"], note["wasted_bytes"], *note["best"], *note["outcomes"].values()]
        if len(note["best"]) != 2 or note["outcomes"].keys() != self.outcomes.keys():
            raise ValueError("a clock has best seconds and joules, and outcomes")
        if not all(type(one) in (int, float) and 0 <= one < float("inf") for one in numbers):
            raise ValueError(f"the clock's numbers are finite and 0 or more, got {numbers}")
        self.now, self.joules, self.wasted_bytes = (float(one) for one in numbers[:3])
        self.best, self.outcomes = (float(note["best"][0]), float(note["best"][1])), dict(note["outcomes"])

    @property
    def summary(self) -> dict[str, Any]:
        """The clock's part of a run's summary: numbers of a model, not of a measurement."""
        return {
            "seconds": self.now,
            "joules": self.joules,
            "wasted_bytes": self.wasted_bytes,
            **self.outcomes,
            **({"wire": True} if self.timing.wire else {}),
            "energy_source": self.timing.link.radio.source,
        }
