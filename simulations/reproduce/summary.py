"""Findings of a rerun beside those of a paper: one table, for the terminal and for the study's page."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t


class Row(NamedTuple):
    """One method."""

    method: str
    values: Sequence[float]
    """One a seed or split."""
    published: str = "–"
    """The figure, with its spread where the paper gives one."""
    source: str = ""
    """Source: paper and table."""


class Interval(NamedTuple):
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


def paired(ours: Sequence[float], others: Sequence[float], confidence: float = 0.95) -> Interval:
    """Half-width of the interval of the mean difference over the same seeds, by Student's t.

    Raises:
        ValueError: the two have unlike lengths, or fewer than two seeds.
    """
    if len(ours) != len(others) or len(ours) < 2:
        raise ValueError(f"A paired interval needs two or more common seeds, got {len(ours)} and {len(others)}.")
    gap = np.asarray(ours, np.float64) - np.asarray(others, np.float64)
    half = float(t.ppf((1 + confidence) / 2, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))
    return Interval(float(gap.mean()), float(gap.mean()) - half, float(gap.mean()) + half)


def table(metric: str, rows: Sequence[Row], digits: int = 4) -> str:
    """Markdown: mean ± standard deviation over seeds, beside the published figure."""
    lines = [f"| method | {metric}, ours | published | source |", "|---|---|---|---|"]
    for row in rows:
        values = np.asarray(row.values, np.float64)
        spread = f" ± {values.std(ddof=1):.{digits}f} ({len(values)})" if len(values) > 1 else ""
        lines.append(f"| {row.method} | {values.mean():.{digits}f}{spread} | {row.published} | {row.source} |")
    return "\n".join(lines)
