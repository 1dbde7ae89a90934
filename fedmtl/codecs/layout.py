"""The layout of a flat vector: names, shapes and places of the arrays that are joined in it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


class Place(NamedTuple):
    """One array of a vector."""

    name: str
    """``record/name``: the record of the payload, and the name of the parameter in it."""
    shape: tuple[int, ...]
    start: int
    """Its first number's index."""

    @property
    def size(self) -> int:
        """The number of its numbers."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The arrays of a vector, end to end.

    It stands for its size wherever numpy takes one, so a codec without interest in names writes ``np.zeros(layout)``.

    >>> layout = layout_of([("trunk/w", (2, 3)), ("trunk/b", (3,))])
    >>> layout.size, layout.places[1].start
    (9, 6)
    """

    places: tuple[Place, ...]

    @cached_property
    def size(self) -> int:
        """The number of numbers of the vector."""
        return sum(place.size for place in self.places)

    def __index__(self) -> int:
        return self.size

    def select(self, chosen: Iterable[int]) -> "Layout":
        """Return the layout of some of the arrays, joined in this order."""
        return layout_of([self.places[k][:2] for k in chosen])


def layout_of(arrays: Sequence[tuple[str, tuple[int, ...]]]) -> Layout:
    """Lay arrays of these names and shapes end to end."""
    places, start = [], 0
    for name, shape in arrays:
        places.append(Place(name, shape, start))
        start += places[-1].size
    return Layout(tuple(places))


def as_layout(layout: Layout | int) -> Layout:
    """Return a layout as it is, and for a number the layout of one array of that size without a name."""
    return layout if isinstance(layout, Layout) else layout_of([("", (layout,))])
