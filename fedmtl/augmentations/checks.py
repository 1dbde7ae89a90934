"""Checks that augmentations share."""

from typing import Any

from fedmtl.core.bounds import shown


def check_part(owner: Any, name: str, value: float, most: float = 1.0) -> None:
    """Refuse a number outside of [0, most].

    Raises:
        ValueError: it begins with the augmentation's name.
    """
    if isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{type(owner).__name__}: {name} is a number from 0 to {most:g}, got {shown(value)}.")


def check_numbers(owner: Any, shape: tuple[int, ...], whole: bool, axes: int, example: str) -> None:
    """Refuse tokens, and examples with too few axes.

    Args:
        owner: the augmentation.
        shape: of one example.
        whole: inputs are int64.
        axes: of an example, at least.
        example: words for it, with its axes.

    Raises:
        ValueError: it begins with the augmentation.
    """
    if whole:
        raise ValueError(
            f"augment: {owner!r} changes numbers, and inputs are tokens; take WordDropout, or leave it out."
        )
    if len(shape) < axes:
        raise ValueError(
            f"augment: {owner!r} takes {example}, and an example has the shape {shape}; leave it out, or take one for "
            "such inputs: Jitter."
        )
