"""Checks of every ``decode``: it refuses bytes of another length, and numbers that no sender codes; and of memories."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_length(codec: Any, length: int, size: int, expected: int) -> None:
    """Refuse bytes whose number is not the one that ``codec`` makes for ``size`` numbers.

    Raises:
        ValueError: ``size`` is not positive, or ``length`` is not ``expected``.
    """
    if size < 1:
        raise ValueError(f"{codec!r} codes at least one number, got size={size}; no packet stands for an empty vector.")
    if length != expected:
        raise ValueError(
            f"{codec!r} makes {expected} bytes for {size} numbers, got {length}; "
            "sender and receiver must use the same codec and the same model, and the packet must arrive whole."
        )


def check_most(codec: Any, length: int, size: int, least: int, most: int) -> None:
    """Refuse bytes whose number is not one of those that ``codec`` makes for ``size`` numbers.

    Raises:
        ValueError: ``size`` is not positive, or ``length`` is not between ``least`` and ``most``.
    """
    if size < 1 or not least <= length <= most:
        check_length(codec, length, size, most if length > most else least)


def check_decoded(codec: Any, x: NDArray[np.floating]) -> None:
    """Refuse NaN and infinity, which ``encode`` never lets through.

    Raises:
        ValueError: x holds a number that is not finite.
    """
    if not np.isfinite(x).all():
        raise ValueError(
            f"{codec!r} codes finite numbers, got bytes that hold {int((~np.isfinite(x)).sum())} others; "
            "the packet is damaged or forged: reject the reply."
        )


def check_padding(codec: Any, rest: NDArray[Any]) -> None:
    """Refuse a last byte that is filled up with anything but zeros.

    Raises:
        ValueError: ``rest``, the part of it that holds no number, is not 0.
    """
    if rest.any():
        raise ValueError(
            f"{codec!r} fills up the last byte with zeros, got others; the packet is damaged or forged: "
            "reject the reply."
        )


def check_codec(wrapper: str, codec: Any) -> None:
    """Refuse what is no codec, or the class of one.

    Raises:
        TypeError: it names the wrapper and what it was given.
    """
    if isinstance(codec, type) or not {"encode", "decode", "traits"}.issubset(dir(codec)):
        raise TypeError(f"{wrapper} wraps a codec such as TopK(keep=0.05), got {codec!r}.")


def check_memory(codec: Any, memory: NDArray[np.float32], x: NDArray[np.float32]) -> None:
    """Refuse a sender's memory of other vectors.

    Raises:
        ValueError: the memory has another shape than x.
    """
    if memory.shape != x.shape:
        raise ValueError(
            f"{codec!r} has a memory of shape {memory.shape} for a vector of shape {x.shape}; "
            "start from init(layout) when the model changes."
        )
