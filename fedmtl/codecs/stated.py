"""Stated bytes: what a codec declares of the length of its packets before it has a vector."""

from typing import Any, NamedTuple

from fedmtl.codecs.layout import Layout, as_layout


class StatedBytes(NamedTuple):
    """Bytes of a vector's code."""

    typical: float
    """The bytes of every vector where ``exact``, else the mean of Gaussian vectors."""
    most: int
    """The most bytes of any vector."""
    exact: bool
    """True where they depend on the layout alone."""


def stated_bytes(codec: Any, layout: Layout | int) -> StatedBytes:
    """Return the bytes that a codec states for a vector, with its traits ``fixed_bytes``, or ``typical_bytes`` and
    ``max_bytes``.

    >>> from fedmtl.codecs import Dense
    >>> stated_bytes(Dense(), 10)
    StatedBytes(typical=40, most=40, exact=True)

    Raises:
        ValueError: the codec states none.
    """
    layout = as_layout(layout)
    if codec.traits.by_layout:
        codec = codec.bind(layout)
    if codec.traits.fixed_bytes:
        exact = codec.num_bytes(layout.size)
        return StatedBytes(exact, exact, True)
    if codec.traits.typical_bytes:
        return StatedBytes(codec.typical_bytes(layout.size), most_bytes(codec, layout.size), False)
    raise ValueError(
        f"{codec!r} states no bytes; declare fixed_bytes=True in its traits and write num_bytes(size), or "
        "typical_bytes=True and max_bytes=True, where they depend on the numbers."
    )


def most_bytes(codec: Any, size: int) -> int:
    """The most bytes that a codec makes of a vector, as it declares, or 8 a number and 4096."""
    return codec.max_bytes(size) if codec.traits.max_bytes else 8 * size + 4096
