"""Norms of images: GroupNorm or BatchNorm."""

from math import gcd

from torch import nn

NORMS = ("group", "batch")


def check_norm(name: str, norm: str) -> None:
    """Refuse a norm that is none of ``NORMS``.

    Raises:
        ValueError: it names the value and the choices.
    """
    if norm not in NORMS:
        raise ValueError(f"{name}: norm is 'group' or 'batch', got {norm!r}.")


def norm_of(norm: str, channels: int) -> nn.Module:
    """Make BatchNorm, or GroupNorm of up to 8 groups of equally many channels, at least two where there are two."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    groups = gcd(channels, 8)
    return nn.GroupNorm(max(1, groups // 2) if groups == channels else groups, channels)
