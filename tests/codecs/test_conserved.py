"""The memory of errors of every biased codec: over 100 rounds nothing is lost."""

from typing import Any

import numpy as np

from fedmtl.codecs import BF16, FP8, FP16, STC, ErrorFeedback, GolombTopK, PowerSGD, Sign, TopK
from fedmtl.codecs.layout import as_layout
from fedmtl.registry.components import REGISTRY, make
from tests.cases import case

BIASED: list[Any] = [
    *(FP16(), BF16(), FP8(), FP8("e5m2"), Sign(), TopK(0.05), TopK(0.3), GolombTopK(0.05), STC(0.05)),
    PowerSGD(),
]


def test_over_100_rounds_nothing_is_lost() -> None:
    """Σ x = Σ x' + e in each number, to 1e-6 of the largest of Σ x: the memory e is kept in float32. What it holds of
    codecs that lose much matters: ten times that, and more."""
    others = [make("codec", name) for name in REGISTRY["codec"] if name not in ("Chain", "ErrorFeedback", "PerLayer")]
    lossy = [codec for codec in others if not codec.traits.unbiased and not codec.traits.keeps_errors]
    assert {type(codec) for codec in lossy} <= {type(codec) for codec in BIASED}
    updates = np.random.default_rng(1).standard_normal((100, 1000)).astype(np.float32)
    for codec in BIASED:
        feedback = ErrorFeedback(codec)
        state, received = feedback.init(as_layout(1000)), np.zeros(1000)
        for k, x in enumerate(updates):
            data, state = feedback.encode(x, state, np.random.default_rng(k))
            received += feedback.decode(data, 1000)
        sent = updates.sum(0, dtype=np.float64)
        with case(codec):
            assert state[0].dtype == np.float32
            assert np.abs(sent - received - state[0]).max() <= 1e-6 * np.abs(sent).max()
            assert np.abs(sent - received).max() > 10 * np.abs(sent - received - state[0]).max()
