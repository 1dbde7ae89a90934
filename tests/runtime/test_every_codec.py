"""Every setting of an algorithm over codecs, each pair in a run or refused before it.

One setting of each algorithm runs over every codec in tests/protocol/test_leak.py. Here are the others, which differ in
optimizers, epochs and weightings: these change the numbers of a packet, which codecs do not tell apart, and some the
names. So each runs over three codecs, and each codec meets at least a third of them.
"""

from typing import Any

import pytest

from fedmtl.algorithms import Algorithm
from fedmtl.codecs import FP16, Chain, Codec, Dense, ErrorFeedback, Int8, PerLayer, TopK
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise
from fedmtl.run_experiment import run
from tests.conftest import ALL_ALGORITHMS
from tests.protocol.test_leak import ALGORITHMS
from tests.runtime.every import experiment

CLIENTS = 12
"""Three clients of each kind of task, of which one a round, on average, takes part."""


OTHERS = [
    each
    for each in ALL_ALGORITHMS
    if each not in ALGORITHMS and sum(type(other) is type(each) for other in ALL_ALGORITHMS) > 1
]


def test_no_setting_is_left_out() -> None:
    """Of an algorithm with one setting alone, the search for leaks has it, if need be with clients of its own data."""
    assert {type(each) for each in ALGORITHMS} == {type(each) for each in ALL_ALGORITHMS}
    assert len(OTHERS) >= 9


CODECS: list[Codec[Any]] = [
    FP16(),
    Int8(),
    TopK(keep=0.3),
    ErrorFeedback(codec=TopK(keep=0.3)),
    Dense(),
    Chain(ClipNorm(1.0), GaussianNoise(0.01), ErrorFeedback(TopK(0.3))),
    PerLayer({"*bias": ErrorFeedback(FP16())}, default=Chain(ClipNorm(5.0), Int8(block=8))),
]
PAIRS = [(one, CODECS[(k + step) % len(CODECS)]) for k, one in enumerate(OTHERS) for step in (0, 2, 3)]


def test_each_codec_is_met() -> None:
    for codec in CODECS:
        assert 3 * sum(other is codec for _, other in PAIRS) >= len(OTHERS)


@pytest.mark.parametrize(("algorithm", "codec"), PAIRS, ids=repr)
def test_it_composes_with_a_codec(algorithm: Algorithm[Any, Any], codec: Codec[Any]) -> None:
    """Up and down where the codec may go down; a pair that cannot be is refused before the run, with the reason."""
    try:
        result = run(experiment(algorithm, CLIENTS, cohort=4, batch_size=8, up_codec=codec))
    except ValueError as error:
        assert type(algorithm).__name__ in str(error) or "codec" in str(error)
        assert "use" in str(error) or "give" in str(error)
        return
    assert result.summary["bytes"]["train"]["total"] >= 0
    assert all(row["value"] is not None for row in result.rows if row["examples"])
