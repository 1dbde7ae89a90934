"""Chain: transforms from left to right, and back from right to left."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedmtl.codecs import Dense, TopK
from fedmtl.codecs.transforms import ClipNorm, ServerGaussianNoise, TransformTraits
from fedmtl.verify.check import CheckResult, close, every, same_bits

X = np.array([3.0, 4.0, 0.0, 12.0], np.float32)
"""An update of norm 13."""


@dataclass(frozen=True)
class _Affine:
    """x -> scale x + shift, undone by the inverse; powers of two and small whole numbers keep every bit."""

    scale: float
    shift: float
    traits = TransformTraits(lossless=True, unbiased=True)

    def apply(self, x: Any, rng_for: Any) -> Any:
        return np.float32(self.scale) * x + np.float32(self.shift)

    def undo(self, x: Any) -> Any:
        return (x - np.float32(self.shift)) / np.float32(self.scale)


def the_codec_gets_what_the_transforms_make_from_left_to_right(chain: Callable[..., Any]) -> CheckResult:
    """First 2x, then + 8: the bytes are of 2x + 8, and not of 2 (x + 8)."""
    data, _ = chain(_Affine(2.0, 0.0), _Affine(1.0, 8.0), Dense()).encode(X, None, np.random.default_rng(0))
    return same_bits(np.frombuffer(data, "<f4"), 2 * X + 8)


def they_are_undone_from_right_to_left(chain: Callable[..., Any]) -> CheckResult:
    """((2x + 8) − 8) / 2 = x, one by one and for a cohort; in the other order it would be x − 4."""
    whole = chain(_Affine(2.0, 0.0), _Affine(1.0, 8.0))
    data, _ = whole.encode(X, None, np.random.default_rng(0))
    rows = whole.decode_rows(whole.encode_rows(X[None], None, np.random.default_rng)[0], 4)
    return every(same_bits(whole.decode(data, 4), X), same_bits(rows[0], X))


def a_clipped_update_is_what_is_sparsified(chain: Callable[..., Any]) -> CheckResult:
    """‖x‖ = 13 and S = 6.5: half of x, of which a quarter is kept, the largest: 6 at the last place."""
    whole = chain(ClipNorm(6.5), TopK(0.25))
    data, _ = whole.encode(X, whole.init(4), np.random.default_rng(0))
    return close(whole.decode(data, 4), [0.0, 0.0, 0.0, 6.0], atol=1e-6)


def the_server_takes_its_part_of_each_transform_in_turn(chain: Callable[..., Any]) -> CheckResult:
    """Two noises of 0.3 and 0.4 on a mean of weight 2: one generator draws for the last transform first."""
    whole = chain(ClipNorm(1.0), ServerGaussianNoise(0.3), ServerGaussianNoise(0.4))
    draw = np.random.default_rng(3)
    last, first = draw.standard_normal(4), draw.standard_normal(4)
    found = whole.on_sum(np.zeros(4), 2.0, np.random.default_rng(3))
    return close(found, 2 * (0.4 * last + 0.3 * first), atol=1e-12)


CHECKS = (
    the_codec_gets_what_the_transforms_make_from_left_to_right,
    they_are_undone_from_right_to_left,
    a_clipped_update_is_what_is_sparsified,
    the_server_takes_its_part_of_each_transform_in_turn,
)
