"""Areas under the ROC curve and the precision-recall curve, from histograms of logits, with bounds on their error.

With P positive and N negative examples, of which bin b holds p_b and n_b, N_b negatives in lower bins, and t_b, f_b
positives and negatives in higher ones:

    AUC      = Σ_b p_b (N_b + n_b / 2) / (P N)                              ties count half                         (1)
    |error| ≤ Σ_b p_b n_b / (2 P N)                                         half the pairs that share a bin         (2)

    AP  = Σ over thresholds of (recall − recall before) · precision; in bin b it adds, times P, between
          Σ_{i=1..p_b} (t_b + i) / (t_b + i + f_b + n_b)                    negatives first, no tie                 (3)
          and p_b (t_b + p_b) / (t_b + p_b + f_b)                           positives first, all tied               (4)
    of which the middle is taken; |error| is at most half the difference.                                           (5)

Both are exact where no bin holds more than one example. AUC is NaN without both classes; AP is 0 without a positive
example: the conventions of scikit-learn.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.metrics.checks import row_sums

BINS = 1026
"""Bins of logits: 1024 of equal width in asinh z from −asinh 32 to asinh 32, so about 0.008 wide at 0 and 0.04 at 5,
where the outermost hold all that lies beyond; and one below and one above them all, for outputs that are not numbers,
which rank as wrong: positive examples below, negative ones above."""

_INNER = BINS - 2
_REACH = float(np.arcsinh(32.0))


def bins(logit: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The bin of each logit. NaN is what has no rank; −inf and +inf are the lowest and highest."""
    place = (np.arcsinh(logit) / _REACH + 1) * (_INNER / 2)
    inner = np.clip(np.nan_to_num(place, nan=0.0), 0, _INNER - 1).astype(np.int64) + 1
    return np.where(np.isnan(logit), np.where(positive, 0, BINS - 1), inner)


class Areas(NamedTuple):
    """Areas of S histograms, [S] each."""

    auc: NDArray[np.float64]
    auc_error: NDArray[np.float64]
    average_precision: NDArray[np.float64]
    average_precision_error: NDArray[np.float64]
    entries: NDArray[np.float64]
    """Examples in each."""


def areas(
    histogram: NDArray[np.int64],
    positive: NDArray[np.bool_],
    bin: NDArray[np.int64],
    counts: NDArray[np.int64],
    size: int,
) -> Areas:
    """Areas of S histograms, from their cells that are not empty, [m] each, in any order.

    Args:
        histogram: which of them.
        positive: whether the cell counts positive examples.
        bin: of the cell.
        counts: examples in it.
        size: S.
    """
    key, which = np.unique(histogram * BINS + bin, return_inverse=True)
    of = key // BINS
    p, n = (row_sums(which, np.where(side, counts, 0), len(key)) for side in (positive, ~positive))
    total_p, total_n = (row_sums(of, side, size) for side in (p, n))
    below_p, below_n = (_below(of, side, size) for side in (p, n))
    pairs = total_p * total_n
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = row_sums(of, p * (below_n + n / 2), size) / pairs  # (1)
        auc_error = row_sums(of, p * n / 2, size) / pairs  # (2)
        t, f = total_p[of] - below_p - p, total_n[of] - below_n - n
        worst = _spread(t, f + n, p)  # (3)
        best = np.where(p > 0, p * (t + p) / np.maximum(t + p + f, 1), 0.0)  # (4)
        entries = total_p + total_n
        low, high = (row_sums(of, side, size) / np.maximum(total_p, 1) for side in (worst, best))
    known = np.where(entries > 0, 0.0, np.nan)
    return Areas(auc, auc_error, (low + high) / 2 + known, (high - low) / 2 + known, entries)  # (5)


def _below(of: NDArray[np.int64], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The sum over lower bins of the same histogram; keys ascend."""
    before = np.cumsum(values) - values
    first = np.searchsorted(of, np.arange(size))
    return before - before[np.minimum(first, len(before) - 1)][of] if len(of) else before


def _spread(t: NDArray[np.float64], c: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ_{i=1..p} (t + i) / (t + i + c) = p − c (H(t + p + c) − H(t + c)), with the harmonic numbers H."""
    return np.where(p == 1, (t + 1) / (t + 1 + c), p - c * (_harmonic(t + p + c) - _harmonic(t + c)))


_SMALL = np.concatenate([[0.0], np.cumsum(1 / np.arange(1.0, 256.0))])


def _harmonic(n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ_{i=1..n} 1/i: a table, and beyond it Euler and Maclaurin's series, whose next term is below 1e-17."""
    large = np.maximum(n, 256.0)
    series = np.log(large) + np.euler_gamma + 1 / (2 * large) - 1 / (12 * large**2) + 1 / (120 * large**4)
    return np.where(n < 256, _SMALL[np.minimum(n, 255).astype(np.int64)], series)
