"""Mean and variance of features over all clients, from numbers that each client sends: count, mean, squared deviations.

With n_k known values of a feature at client k, their mean m_k and q_k = Σ (x − m_k)²,

    n = Σ n_k,   m = m_0 + Σ n_k (m_k − m_0) / n,   q = Σ q_k + Σ n_k (m_k − m)²,   variance = q / n              (1)

is the pooled mean and variance (Chan, Golub, LeVeque. COMPSTAT 1982): no difference of two large sums, which would
lose all digits of a feature such as a year or a time in seconds. All in float64; missing values, NaN, are not counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.tasks.precision import LARGEST

_SENT = np.dtype([("count", "<u4"), ("mean", "<f8"), ("squares", "<f8")])
"""A feature, as a client sends it: 20 bytes."""

ROUNDING = 1e-12
"""A standard deviation below this part of the mean is rounding: the feature is constant."""


class FeatureMoments(NamedTuple):
    """Statistics of F features; of K clients, [K, F] each."""

    known: NDArray[np.int64]
    """Number of known values, [F]."""
    mean: NDArray[np.float64]
    """0 where no value is known."""
    squares: NDArray[np.float64]
    """Sum of squared deviations from the mean."""

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation to divide by, [F]: 1 where a feature is constant."""
        found = np.sqrt(self.squares / np.maximum(self.known, 1))
        return np.where(found > ROUNDING * np.maximum(np.abs(self.mean), 1e-300), found, 1.0)

    def to_bytes(self) -> bytes:
        """The body of a client's packet."""
        sent = np.empty(len(self.known), _SENT)
        sent["count"], sent["mean"], sent["squares"] = self
        return sent.tobytes()


def moments_of(x: NDArray[Any]) -> FeatureMoments:
    """Statistics of the rows of one client.

    Args:
        x: numbers, NaN where missing, [N, …]; F is the product of the other axes.

    Raises:
        ValueError: infinity, or values so far apart that their squares are none.
    """
    rows = x.reshape(len(x), -1).astype(np.float64)
    known = ~np.isnan(rows)
    count = known.sum(0)
    first = rows[known.argmax(0), np.arange(rows.shape[1])] if len(rows) else np.zeros(rows.shape[1])
    first = np.where(count > 0, first, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):  # infinity is an error below
        apart = np.where(known, rows - first, 0.0)  # from one value: a constant has no rounding error
        shift = apart.sum(0) / np.maximum(count, 1)
        squares = (np.where(known, apart - shift, 0.0) ** 2).sum(0)
    return _finite(FeatureMoments(count, first + shift, squares))


def moments_from_bytes(body: bytes, features: int) -> FeatureMoments:
    """The statistics that a client sent.

    Raises:
        ValueError: another length, or numbers that no client counts.
    """
    if len(body) != features * _SENT.itemsize:
        raise ValueError(
            f"Statistics of {features} features are {features * _SENT.itemsize} bytes, got {len(body)}; all clients "
            "need the same columns."
        )
    sent = np.frombuffer(body, _SENT)
    return _finite(FeatureMoments(sent["count"].astype(np.int64), sent["mean"].copy(), sent["squares"].copy()))


def merge(parts: Sequence[FeatureMoments]) -> FeatureMoments:
    """(1), in the order of the clients."""
    count, mean, squares = (np.stack(column) for column in zip(*parts, strict=True))
    total = count.sum(0)
    first = mean[(count > 0).argmax(0), np.arange(mean.shape[1])]
    weight = count / np.maximum(total, 1)
    pooled = first + np.where(count > 0, weight * (mean - first), 0.0).sum(0)
    between = np.where(count > 0, count * (mean - pooled) ** 2, 0.0)
    return _finite(FeatureMoments(total, pooled, squares.sum(0) + between.sum(0)))


@dataclass(frozen=True)
class MomentsRule:
    """The preparation by which F features are standardised: means and standard deviations over all clients, (1)."""

    features: int
    """F."""

    def weight(self, body: bytes) -> float:
        """As of a ``Rule``.

        Raises:
            ValueError: as ``sent_moments``.
        """
        return float(sent_moments(body, self.features).known.max(initial=0))

    def agree(self, sent: Mapping[int, bytes]) -> bytes:
        """Mean and standard deviation, 16 bytes a feature."""
        total = merge([moments_from_bytes(sent[client], self.features) for client in sorted(sent)])
        return np.stack([total.mean, total.std]).astype("<f8").tobytes()

    def agreed(self, body: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation as every client receives them, [F] both.

        Raises:
            ValueError: another length, or numbers that no server agrees on.
        """
        return agreed_moments(body, self.features)


def sent_moments(body: bytes, features: int) -> FeatureMoments:
    """The statistics that a client sent, of inputs that float32 holds: beyond, one would end the run of all.

    Raises:
        ValueError: as ``moments_from_bytes``, or a larger mean or variance.
    """
    found = moments_from_bytes(body, features)
    with np.errstate(over="ignore"):
        large = (np.abs(found.mean) > LARGEST) | (found.squares > 4 * LARGEST**2 * np.maximum(found.known, 1))
    if large.any():
        raise ValueError(f"Feature {int(np.flatnonzero(large)[0])} has a mean or a variance beyond float32's numbers.")
    return found


def agreed_moments(body: bytes, features: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of a body, [F] both.

    Raises:
        ValueError: another length, or numbers that no server agrees on.
    """
    if len(body) != 16 * features:
        raise ValueError(f"Statistics of {features} features are agreed in {16 * features} bytes, got {len(body)}.")
    mean, std = np.frombuffer(body, "<f8").reshape(2, -1)
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise ValueError("Agreed statistics are finite means, and standard deviations above 0.")
    return mean, std


def _finite(found: FeatureMoments) -> FeatureMoments:
    good = np.isfinite(found.mean) & np.isfinite(found.squares) & (found.squares >= 0)
    if not good.all():
        place = int(np.flatnonzero(~good)[0])
        raise ValueError(
            f"Feature {place} has no finite mean and variance (mean {shown(float(found.mean[place]))}, squares "
            f"{shown(float(found.squares[place]))}); correct or scale its values."
        )
    return found
