"""Places for labels: none overlaps another. Boxes are (left, bottom, right, top), in any unit."""

from collections.abc import Sequence

Box = tuple[float, float, float, float]


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Centres of labels in a column that holds them all: least squares from where they should be, none over another.

    With labels in the order of their wanted centres w_i, and o_i the sum of the heights below label i and half its own,
    centres c_i = o_i + u_i do not overlap when u_i does not decrease. The sum of (c_i − w_i)² is then least when u is
    the isotonic regression of w_i − o_i, by pools of adjacent violators; bounds clip it.

    Args:
        wanted: the centre that each label should have.
        heights: of the labels.
        low: the column's lower end.
        high: its upper end; labels that need more room go beyond it.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    below, offsets = 0.0, []
    for i in order:
        offsets.append(below + heights[i] / 2)
        below += heights[i]
    pools: list[list[float]] = []  # sum, count
    for i, offset in zip(order, offsets, strict=True):
        pools.append([wanted[i] - offset, 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
    levels = [total / count for total, count in pools for _ in range(int(count))]
    centres = [0.0] * len(wanted)
    for i, offset, level in zip(order, offsets, levels, strict=True):
        centres[i] = offset + max(low, min(level, high - below))
    return centres


def place(candidates: Sequence[Sequence[Box]], obstacles: Sequence[Box], bounds: Box) -> list[int | None]:
    """The number of the first candidate of each label that lies within the bounds and is free.

    Labels whose candidates are the fewest choose first. None for a label that finds no place.
    """
    taken = list(obstacles)
    free = [[n for n, box in enumerate(boxes) if _inside(box, bounds) and _free(box, taken)] for boxes in candidates]
    chosen: list[int | None] = [None] * len(candidates)
    for i in sorted(range(len(candidates)), key=lambda i: (len(free[i]), i)):
        chosen[i] = next((n for n in free[i] if _free(candidates[i][n], taken)), None)
        if (n := chosen[i]) is not None:
            taken.append(candidates[i][n])
    return chosen


def overlap(one: Box, other: Box) -> bool:
    """True where two boxes have an area in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(box: Box, bounds: Box) -> bool:
    return box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]


def _free(box: Box, taken: Sequence[Box]) -> bool:
    return not any(overlap(box, other) for other in taken)
