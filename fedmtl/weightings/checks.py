"""Checks of a weighting that a wrapper is given."""

from typing import Any

from fedmtl.core.traits import check_traits
from fedmtl.weightings.traits import WeightingTraits


def check_weighting(owner: Any, weighting: Any, field: str = "weighting") -> None:
    """Refuse what is no weighting.

    Raises:
        ValueError: it names the owner and the value.
    """
    if isinstance(weighting, type) or "combine" not in dir(weighting):
        raise ValueError(f"{type(owner).__name__} needs a weighting such as MGDA(), got {field}={weighting!r}.")
    check_traits("weighting", weighting, WeightingTraits)
