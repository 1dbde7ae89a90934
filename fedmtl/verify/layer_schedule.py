"""LayerSchedule against rounds in numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.fedper import FedPer
from fedmtl.core.context import Context
from fedmtl.verify.beats_local import Claim, around
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.quadratic import Array, Played, clients, play, weights

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
LR = 0.25


class _EachRound:
    """A schedule whose methods are those of the round of their context, as a run has them."""

    def __init__(self, schedule: Any) -> None:
        self._schedule = schedule
        self.traits = schedule.traits
        self.init_server, self.init_client = schedule.init_server, schedule.init_client
        self.personal_params = schedule.personal_params

    def _at(self, ctx: Context) -> Any:
        return self._schedule.of_round(int(ctx.round))

    def broadcast(self, server: Any, client: int, ctx: Context) -> Any:
        return self._at(ctx).broadcast(server, client, ctx)

    def local_update(self, loss: Any, down: Any, private: Any, batches: Any, ctx: Context) -> Any:
        return self._at(ctx).local_update(loss, down, private, batches, ctx)

    def aggregate(self, server: Any, uploads: Any, ctx: Context) -> Any:
        return self._at(ctx).aggregate(server, uploads, ctx)


def _played(schedule: Any, rounds: int) -> Played:
    return play(_EachRound(schedule), clients(), START, rounds)


def _by_hand(rounds: int, travels: Callable[[int], tuple[bool, bool]]) -> Array:
    """(2) to (4) with one step a round, w = (θ [3], φ [2]); ``travels(t)`` is of θ and of φ."""
    federation = clients()
    server, own, seen = START.copy(), np.stack([START] * 3), np.stack([START] * 3)
    for t in range(rounds):
        sent = np.repeat(travels(t), [3, 2])
        begin = np.where(sent, server, own)  # (2), (3)
        own = np.stack([w - LR * one.gradient(w) for one, w in zip(federation, begin, strict=True)])
        server = np.where(sent, weights(federation) @ own, server)  # (4)
        seen = np.where(sent, server, own)
    return seen


def seven_rounds_by_hand(cls: Callable[..., Any]) -> CheckResult:
    """FedAvg with φ in every third round alone, the first, or the last of three; and θ and φ in turns; in numpy."""
    inner = FedAvg(lr=LR, epochs=1)
    return every(
        close(_played(cls(inner, {"head.*": 3}), 7).personal, _by_hand(7, lambda t: (True, t % 3 == 0)), atol=1e-12),
        close(
            _played(cls(inner, {"head.*": "3+2"}), 7).personal, _by_hand(7, lambda t: (True, t % 3 == 2)), atol=1e-12
        ),
        close(
            _played(cls(inner, {"trunk.w": "2+1", "head.t.*": "2+0", "*": 5}), 7).personal,
            _by_hand(7, lambda t: (t % 2 == 1, t % 2 == 0)),
            atol=1e-12,
        ),
    )


def what_is_not_named_travels_always(cls: Callable[..., Any]) -> CheckResult:
    """With periods of 1 it is the wrapped algorithm, bit for bit."""
    for inner in (FedAvg(lr=LR, epochs=2), FedPer(lr=LR, epochs=2)):
        found = same_bits(_played(cls(inner, {"trunk.*": 1}), 3).personal, play(inner, clients(), START, 3).personal)
        if not found.passed:
            return found
    return found


def packets_hold_the_groups_of_the_round(cls: Callable[..., Any]) -> CheckResult:
    """Numbers down and up in rounds 0 to 4, where θ [3] travels always and φ [2] in rounds 1 and 3: 3, 5, 3, 5, 3."""
    schedule = cls(FedAvg(lr=LR, epochs=1), ["head.*=2+1"])
    found = []
    for rounds in range(1, 6):
        ended = _played(schedule, rounds)
        down = schedule.of_round(rounds - 1).broadcast(ended.server, 0, None)
        sent = [down, *(upload.payload for _, upload in ended.uploads)]
        found.append([sum(w.numel() for params in one.values() for w in params.values()) for one in sent])
    return close(found, np.array([[3], [5], [3], [5], [3]]).repeat(4, 1), atol=0)


CHECKS = (
    seven_rounds_by_hand,
    what_is_not_named_travels_always,
    packets_hold_the_groups_of_the_round,
)

GAIN = Claim(one_subspace, around(FedPer, lr=0.05), rounds=60)
