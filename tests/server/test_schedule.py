"""The exchanges of a run, written out."""

import pytest

from fedmtl.protocol.best_round import NO_ROUND, BestRound
from fedmtl.protocol.exchange import Exchange
from fedmtl.server.schedule import Schedule


def all_of(schedule: Schedule) -> list[Exchange]:
    found = []
    while (exchange := schedule.exchange(len(found))) is not None:
        found.append(exchange)
    return found


def test_three_rounds_written_out() -> None:
    """Each version is measured by the exchange that trains on it, the last one by an exchange that only measures."""
    assert all_of(Schedule(rounds=3)) == [
        Exchange(1, 0, train=True, measure=True),
        Exchange(2, 1, train=True, measure=True),
        Exchange(3, 2, train=True, measure=True),
        Exchange(4, 3, measure=True, full=True, last=True),
    ]


@pytest.mark.parametrize(("every", "versions"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (5, [0, 5]), (9, [0, 5])])
def test_versions_are_measured_each_so_many_rounds_and_first_and_last(every: int, versions: list[int]) -> None:
    exchanges = all_of(Schedule(rounds=5, evaluate_every=every))
    assert [exchange.version for exchange in exchanges if exchange.measure] == versions
    assert [exchange.makes for exchange in exchanges if exchange.train] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("metrics", "full"), [("primary", [False] * 3), ("last", [False, False, True]), ("all", [True] * 3)]
)
def test_versions_with_all_metrics(metrics: str, full: list[bool]) -> None:
    assert [exchange.full for exchange in all_of(Schedule(rounds=2, metrics=metrics))] == full


def test_the_best_version_is_tested_after_the_last_round() -> None:
    schedule, best = Schedule(rounds=2, validates=True), BestRound(1, 0.5, 1, 2)
    assert schedule.exchange(0) == Exchange(1, 0, True, True, "valid")
    assert schedule.exchange(2, best) == Exchange(3, 2, False, True, "valid", keep=1)
    assert schedule.exchange(3, best) == Exchange(4, 1, False, True, "test", True, keep=1, last=True)
    assert schedule.exchange(3, best, tested=True) is None


def test_training_ends_where_patience_does() -> None:
    """Versions 2 and 3 were no better than version 1, and patience is two measured rounds."""
    schedule, best = Schedule(rounds=9, validates=True, patience=2), BestRound(1, 0.5, 2, 3)
    assert schedule.exchange(4, best) == Exchange(5, 1, False, True, "test", True, keep=1, last=True)
    assert schedule.exchange(4, best, tested=True) is None
    going = schedule.exchange(3, BestRound(1, 0.5, 1, 2))
    assert going == Exchange(4, 3, True, True, "valid", keep=1)


def test_without_validation_no_version_is_kept_and_patience_has_no_meaning() -> None:
    exchanges = all_of(Schedule(rounds=4, patience=1))
    assert {exchange.keep for exchange in exchanges} == {NO_ROUND} and len(exchanges) == 5
