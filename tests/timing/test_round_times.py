"""Rounds on the simulated clock, worked out by hand."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fedmtl.timing.availability import Always, Windows
from fedmtl.timing.links import Constant, Shared, Trace, Unlimited
from fedmtl.timing.policies import AllReplies, Deadline, OverSelection
from fedmtl.timing.policies.base import Policy
from fedmtl.timing.radios import LTE, WiFi
from fedmtl.timing.round_times import Outcome, RoundTimes, RoundWork, simulate
from fedmtl.timing.timing import Timing

IN_TIME, LATE, DROPPED = Outcome

LINKS = """client,start,end,down_mbps,up_mbps
0,0,60,8,8
1,0,1,4,0.8
1,1,4,0.8,0.8
1,4,60,0.8,1.6
2,0,60,1.6,0.4
3,0,60,8,8
"""
AWAY = "client,start,end\n0,0,86400\n1,0,86400\n2,0,86400\n3,0,2.25\n"


@dataclass(frozen=True)
class Given:
    """Devices of 1, 2, 1.5 and 3 seconds of training, at 2 W."""

    def seconds(self, seed: int, clients: np.ndarray, examples: np.ndarray) -> np.ndarray:
        return np.array([1.0, 2.0, 1.5, 3.0])[clients]

    def watts(self, seed: int, clients: np.ndarray) -> np.ndarray:
        return np.full(len(clients), 2.0)


def four(folder: Path, policy: Policy, radio: LTE | WiFi, size: int = 4) -> RoundTimes:
    """Four clients, 500,000 bytes down and 200,000 up; a megabit a second is 125,000 bytes a second.

    client  download                   training       upload                                    end
    0       500,000 / 1,000,000 = 0.5  1.0, to 1.5    200,000 / 1,000,000 = 0.2                 1.7
    1       500,000 / 500,000 = 1.0    2.0, to 3.0    100,000 until 4, then 100,000 / 200,000   4.5
    2       500,000 / 200,000 = 2.5    1.5, to 4.0    200,000 / 50,000 = 4.0                    8.0
    3       0.5                        1.75, to 2.25  goes away at 2.25                         –
    """
    (folder / "links.csv").write_text(LINKS)
    (folder / "away.csv").write_text(AWAY)
    link = Trace(str(folder / "links.csv"), radio=radio)
    timing = Timing(link, Given(), Windows(str(folder / "away.csv")), policy)
    work = RoundWork(np.arange(4), np.full(4, 500_000.0), np.full(4, 1.0), np.full(4, 200_000.0))
    return simulate(timing, 0, 1, 0.0, work, size)


@pytest.mark.parametrize(
    ("policy", "size", "outcome", "seconds"),
    [
        (AllReplies(), 4, [IN_TIME, IN_TIME, IN_TIME, DROPPED], 8.0),
        (Deadline(6.0), 4, [IN_TIME, IN_TIME, LATE, DROPPED], 6.0),
        (Deadline(9.0), 4, [IN_TIME, IN_TIME, IN_TIME, DROPPED], 8.0),
        (OverSelection(2.0), 2, [IN_TIME, IN_TIME, LATE, DROPPED], 4.5),
        (OverSelection(1.3), 4, [IN_TIME, IN_TIME, IN_TIME, DROPPED], 8.0),  # the fourth never comes
        (OverSelection(2.0, seconds=4.0), 2, [IN_TIME, LATE, LATE, DROPPED], 4.0),
    ],
)
def test_four_clients_by_hand(tmp_path: Path, policy: Policy, size: int, outcome: list[int], seconds: float) -> None:
    times = four(tmp_path, policy, LTE(), size)
    assert times.outcome.tolist() == outcome
    assert round(times.seconds, 3) == seconds
    assert times.download.round(3).tolist() == [0.5, 1.0, 2.5, 0.5]
    assert times.compute.round(3).tolist() == [1.0, 2.0, 1.5, 1.75]
    assert times.upload.round(3).tolist() == [0.2, 1.5, 4.0, 0.0]
    assert times.down_bytes.tolist() == [500_000] * 4 and times.up_bytes.tolist() == [200_000] * 3 + [0]
    moved = [700_000, 700_000, 700_000, 500_000]
    assert times.wasted_bytes.tolist() == [size if end else 0 for size, end in zip(moved, outcome, strict=True)]


def test_energy_by_hand(tmp_path: Path) -> None:
    """4 Mbit down and 1.6 Mbit up.

    LTE: client 0 takes 4 · 52 + 1.6 · 438 + 0.7 s · 1288 mW, a tail of 1 s before the upload and one of 11.6 s after
    it, at 1060 mW; client 3 takes 4 · 52 + 0.5 s · 1288 mW and a tail of 11.6 s. Training takes 2 W.
    WiFi: client 2 takes 4 · 137 + 1.6 · 283 + 6.5 s · 133 mW.
    """
    lte, wifi = four(tmp_path, AllReplies(), LTE()).joules, four(tmp_path, AllReplies(), WiFi()).joules
    first = 208 + 700.8 + 0.7 * 1288 + 12.6 * 1060
    assert lte[[0, 3]] == pytest.approx([first / 1000 + 2.0, (208 + 644 + 11.6 * 1060) / 1000 + 3.5], rel=1e-12)
    assert wifi[2] == pytest.approx((4 * 137 + 1.6 * 283 + 6.5 * 133) / 1000 + 3.0, rel=1e-12)


def test_a_server_that_is_shared() -> None:
    """Two clients of 8 Mbps at a server of 8 Mbps: 500,000 bytes take 1 s in place of 0.5."""
    timing = Timing(Shared(Constant(8.0, 8.0), 8.0, 1000.0), Given(), Always(), AllReplies())
    work = RoundWork(np.array([0, 3]), np.full(2, 500_000.0), np.ones(2), np.full(2, 200_000.0))
    times = simulate(timing, 0, 1, 0.0, work, 2)
    assert times.download.tolist() == [1.0, 1.0] and times.upload.round(9).tolist() == [0.2, 0.2]


def test_a_download_that_is_cut(tmp_path: Path) -> None:
    """At 2.25 s, over 1 Mbps."""
    (tmp_path / "away.csv").write_text(AWAY)
    timing = Timing(Constant(1.0, 1.0), Given(), Windows(str(tmp_path / "away.csv")), AllReplies())
    work = RoundWork(np.array([3]), np.array([500_000.0]), np.ones(1), np.array([200_000.0]))
    times = simulate(timing, 0, 1, 0.0, work, 1)
    assert times.outcome.tolist() == [DROPPED] and times.seconds == 2.25
    assert (times.down_bytes[0], times.up_bytes[0]) == (2.25 * 125_000, 0)
    assert (times.compute[0], times.upload[0]) == (0, 0)


def test_dropout_is_as_frequent_as_declared_and_its_own_in_each_round() -> None:
    """Binomial with n = 4000, p = 0.3: its standard deviation is 0.0072, and this is within four."""
    work = RoundWork(np.arange(4000), np.full(4000, 1e4), np.ones(4000), np.full(4000, 1e4))
    timing = Timing(Constant(), _Alike(), Always(dropout=0.3), AllReplies())
    first, second = (simulate(timing, 0, round, 0.0, work, 4000) for round in (1, 2))
    dropped = first.outcome == DROPPED
    assert abs(dropped.mean() - 0.3) < 0.029 and (dropped != (second.outcome == DROPPED)).mean() > 0.3
    whole = 1e4 / 2_500_000 + 1.0 + 1e4 / 625_000
    spent = (first.download + first.compute + first.upload)[dropped]
    assert 0 < spent.min() and spent.max() < whole and abs(spent.mean() / whole - 0.5) < 0.034  # uniform, n = 1200


@dataclass(frozen=True)
class _Alike:
    """Devices of a second of training."""

    def seconds(self, seed: int, clients: np.ndarray, examples: np.ndarray) -> np.ndarray:
        return np.ones(len(clients))

    def watts(self, seed: int, clients: np.ndarray) -> np.ndarray:
        return np.zeros(len(clients))


def test_nothing_takes_time_by_default() -> None:
    timing = Timing(Unlimited(), _Alike(), Always(), AllReplies())
    work = RoundWork(np.arange(3), np.full(3, 1e9), np.ones(3), np.full(3, 1e9))
    assert simulate(timing, 0, 1, 0.0, work, 3).seconds == 1.0
