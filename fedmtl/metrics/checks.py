"""Checks that statistics from a device can be those of some outputs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def row_sums(rows: NDArray[np.int64], counts: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Σ of counts of each row, [size]."""
    return np.bincount(rows, np.asarray(counts, np.float64), size).astype(np.float64, copy=False)


def close_counts(found: NDArray[np.float64], said: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True where two counts of right predictions agree, but for examples that rounding may decide.

    The primary metric is measured in other batches, and outputs differ by rounding: one in a hundred, and one more.
    """
    return np.abs(found - said) <= 1 + of / 100


def losses_fit(
    loss: NDArray[np.float64],
    right: NDArray[np.float64],
    wrong: NDArray[np.float64],
    nameless: NDArray[np.float64],
    most: float,
) -> NDArray[np.bool_]:
    """True where sums of cross-entropies fit the predictions.

    A wrong prediction costs at least log 2, since its class has at most half the probability; a right one costs at most
    ``most``. A loss is no number only where some output is none.
    """
    with np.errstate(invalid="ignore"):
        fits = (loss >= 0.999 * np.log(2) * wrong - 1e-3) & ((wrong > 0) | (loss <= 1.001 * most * right + 1e-3))
    return np.where(nameless > 0, ~(loss < 0), np.isfinite(loss) & fits)
