"""Ratios within turns, and what counts as the same work: expected numbers worked by hand."""

import math

import numpy as np
import pytest

from fedmtl.bench.compare import compare, last_rounds, phases, same_loss, same_trunk
from fedmtl.bench.record import BenchRecord, from_line, to_line
from fedmtl.bench.systems import LOOP, System, fedmtl
from fedmtl.bench.tables import comparison, number
from fedmtl.bench.turns import Runs
from tests.bench.small import SMALL

START = np.zeros(2, np.float32)
END = np.array([3, 4], np.float32)
"""5 away from the start."""


def record(*seconds: float, **more: object) -> BenchRecord:
    values = {"system": "", "workload": "", "cohort": 6, "first_seconds": 9.0, "pss": 1, "rss": 2, **more}
    return BenchRecord(**values, round_seconds=list(seconds))  # pyright: ignore[reportArgumentType]


def runs(system: System, *records: BenchRecord, trunk: np.ndarray = END) -> Runs:
    return Runs(system, list(records), trunk)


def test_a_rate_is_of_the_median_round() -> None:
    """6 clients in 2 s."""
    assert record(1, 2, 50).rate == 3.0
    assert from_line(to_line(record(1, 2, 50))) == record(1, 2, 50)


def test_ratios_are_within_turns() -> None:
    """fedmtl takes 1, 1 and 2 s a round, the loop 2, 3 and 8: 2, 3 and 4 times as long, median 3.

    Over turns the loop's rates are 3, 2 and ¾ clients a second, median 2, so a round is 3 s.
    """
    ours = runs(fedmtl(2), record(1), record(1), record(2))
    loop = runs(LOOP, record(2, first_seconds=4.0, pss=5), record(3, pss=7), record(8, first_seconds=1.0))
    first, second = compare(SMALL, [ours, loop], START)
    assert (first.times, first.least, first.most, first.equal) == (1, 1, 1, True)
    assert (second.times, second.least, second.most, second.equal) == (3, 2, 4, None)
    assert (second.rate, second.first_seconds, second.pss) == (2, 4, 7)  # 4 is the median of 4, 9 and 1
    assert second.round_ms == pytest.approx(1000 * SMALL.cohort / 2)


def test_after_many_rounds_only_accuracies_are_compared() -> None:
    """Rounding grows from round to round: 20 are compared, 21 are not, but for a trunk that went elsewhere."""

    def same(rounds: int, off: float, accuracy: float) -> bool:
        seconds = [1.0] * (rounds - 1)
        other = runs(fedmtl(2), record(*seconds, accuracy=accuracy), trunk=END + np.array([off, 0], np.float32))
        return same_trunk(other, runs(LOOP, record(*seconds, accuracy=0.5)), START)[0]

    assert [same(20, 0.1, 0.5), same(21, 0.1, 0.5), same(21, 5.1, 0.5)] == [False, True, False]
    assert [same(2, 0, 0.519), same(2, 0, 0.521), same(21, 0, 0.521)] == [True, False, False]


@pytest.mark.parametrize(("off", "equal"), [(0.0, True), (0.049, True), (0.051, False), (math.nan, False)])
def test_a_trunk_may_be_a_hundredth_of_the_way_off(off: float, equal: bool) -> None:
    """The way is 5 long: 0.05."""
    other = runs(fedmtl(2), record(1, accuracy=0.51), trunk=END + np.array([off, 0], np.float32))
    same, text = same_trunk(other, runs(LOOP, record(1, accuracy=0.5)), START)
    assert same == equal and "after 2 rounds" in text and "0.510, the loop's 0.500" in text


@pytest.mark.parametrize(
    ("theirs", "equal"), [([9, 2.04], True), ([9, 2.06], False), ([], False), ([9, math.nan], False)]
)
def test_losses_are_compared_in_the_last_round_that_both_have(theirs: list[float], equal: bool) -> None:
    loop = runs(LOOP, record(1, train_loss=[3, 2, 1]))
    assert same_loss(runs(LOOP, record(1, train_loss=theirs)), loop)[0] == equal


def test_phases_are_medians_over_turns() -> None:
    """In milliseconds; one that took no time is left out, one that a turn lacks counts as none there."""
    turns = [{"train": 0.001, "idle": 0.0}, {"train": 0.003, "write": 0.2}, {"train": 0.002, "write": 0.1}]
    assert phases(runs(LOOP, *(record(1, phases=phase) for phase in turns))) == {"train": 2.0, "write": 100.0}


def test_the_table_says_what_is_what() -> None:
    ours = runs(fedmtl(2), record(1, pss=12_000_000), trunk=END + 1)
    lines = compare(SMALL, [ours, runs(LOOP, record(2))], START)
    text = comparison(lines, {"train": 30.0, "write": 10.0}).splitlines()
    assert text[1].split() == ["fedmtl", "6.00", "500", "ms", "9.0", "s", "12", "MB"]
    assert text[2].split() == ["plain", "loop", "3.00", "2.00×", "2.00-2.00×", "1,000", "ms", "9.0", "s", "0", "MB"]
    assert text[3].startswith("fedmtl: NOT THE SAME WORK: ")
    assert text[4] == "fedmtl's rounds, the first one included: train 30 ms (75%), write 10 ms (25%)."
    assert [number(value) for value in (1.234, 12.34, 1234.5)] == ["1.23", "12.3", "1,234"]


def test_a_long_run_tells_of_its_last_rounds() -> None:
    """20 timed rounds: the last two, of ½ s, are a tenth. 6 clients each, the loop takes 3 s: 12 a second, 6 times."""
    ours, loop = runs(fedmtl(2), record(*[2.0] * 18, 0.5, 0.5)), runs(LOOP, record(3))
    text = "In the last tenth of its rounds fedmtl trains 12 clients/s, 6.0× the loop.\n"
    assert last_rounds([ours, loop]) == text
    assert last_rounds([runs(fedmtl(2), record(*[2.0] * 19)), loop]) == ""
