"""The worst tenth of clients: one definition for summaries, reports and studies."""

import math
from collections.abc import Iterable


def worst_tenth(values: Iterable[float], higher_is_better: bool = True) -> float:
    """Mean of the ceil(n / 10) worst of n values, which is at least one: 1 of 10 clients, 2 of 11.

    Args:
        values: one for each client that has one.
        higher_is_better: whether the smallest values are the worst.

    Returns:
        NaN of no value, and where a value is not finite: a client whose model has diverged is among the worst.
    """
    ordered = sorted(values, reverse=not higher_is_better)
    if not ordered or not all(map(math.isfinite, ordered)):
        return math.nan
    count = math.ceil(len(ordered) / 10)
    return math.fsum(ordered[:count]) / count
