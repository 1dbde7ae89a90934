"""Confusion matrices of a run, from its rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class ConfusionMatrix(NamedTuple):
    """Examples of each class (row) by the class that was predicted (column)."""

    names: list[str]
    """Names of the classes."""
    counts: list[list[int]]
    """[classes][classes]."""
    without: list[int]
    """Examples of each class whose output was no number."""

    @property
    def recall(self) -> list[float | None]:
        """The share of each class that was predicted so; None for a class without an example."""
        sizes = [sum(row) + lost for row, lost in zip(self.counts, self.without, strict=True)]
        return [row[k] / size if size else None for k, (row, size) in enumerate(zip(self.counts, sizes, strict=True))]


def confusions(
    rows: Iterable[Mapping[str, Any]], client: int | None, names: Sequence[str]
) -> dict[str | int | None, ConfusionMatrix]:
    """Label, None where a task has but one question -> its matrix; of one client, or of all together.

    Args:
        rows: of the table ``confusion``, of one task and model.
        client: whose matrix.
        names: of the classes, or of the labels; empty where they have none.
    """
    cells: dict[str | int | None, list[tuple[Any, Any, int]]] = {}
    for row in rows:
        if row["client"] == client:
            cells.setdefault(row["label"], []).append((row["truth"], row["predicted"], row["count"]))
    found = {}
    for label, some in cells.items():
        classes = _classes(some, [] if label is not None else names)
        place = {name: k for k, name in enumerate(classes)}
        counts, without = [[0] * len(classes) for _ in classes], [0] * len(classes)
        for truth, predicted, count in some:
            if predicted is None:
                without[place[truth]] += count
            else:
                counts[place[truth]][place[predicted]] += count
        found[label] = ConfusionMatrix([str(name) for name in classes], counts, without)
    return found


def _classes(cells: Iterable[tuple[Any, Any, int]], names: Sequence[str]) -> list[str | int]:
    """All classes, in order: as they are named, or from 0 to the largest that occurs."""
    if names:
        return list(names)
    used = {value for truth, predicted, _ in cells for value in (truth, predicted) if value is not None}
    return list(range(max(2, max(used) + 1)))
