"""Confusion matrices at the end of a run on a table, for tasks of few classes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedmtl.cli.clients import last_tested
from fedmtl.core.terminal import columns, say

if TYPE_CHECKING:
    from fedmtl.analysis.confusion import ConfusionMatrix
    from fedmtl.runs.result import Result
    from fedmtl.tables.schemas import Row

MOST_CLASSES = 8
"""Most classes of a task whose matrix is printed."""

MOST_CLIENTS = 8
"""Most clients whose matrices are printed beside that of all together."""


def say_confusion(result: "Result") -> None:
    """Print a matrix for each task with few classes: of all clients together, and of each of few."""
    from fedmtl.core.text import escaped
    from fedmtl.tables.client_names import names_of
    from fedmtl.tables.schemas import TEST

    rows = [row for row in result.confusion if row["part"] == TEST]
    best, names = last_tested(result, rows), names_of(result.summary)
    classes = result.summary.get("names", {}).get("classes", {})
    for task in sorted({row["task"] for row in rows}):
        own = [row for row in rows if row["task"] == task and row["round"] == best and row["label"] is None]
        if not own:  # each of several labels has a matrix: fedmtl export
            continue
        matrices = _matrices(own, classes.get(task, ()))
        places = _places(matrices[None], task in classes)
        say("")
        if len(places) > MOST_CLASSES:
            say(f"confusion of {task}: {len(places)} classes; fedmtl export FOLDER --what confusion")
            continue
        say(f"confusion of {task}: a line for each label, a column for each prediction, test examples")
        lead = {key: "all clients" if key is None else escaped(names.get(key, str(key)), 36) for key in matrices}
        print(_text(task, matrices, lead, places), flush=True)


def _matrices(rows: "list[Row]", classes: Sequence[str]) -> "dict[int | None, ConfusionMatrix]":
    """Client -> its matrix, if there are few; None -> that of all together."""
    from fedmtl.analysis.confusion import confusions

    clients = sorted({row["client"] for row in rows if row["client"] is not None})
    some = clients if len(clients) <= MOST_CLIENTS else []
    return {client: confusions(rows, client, classes)[None] for client in (None, *some)}


def _places(matrix: "ConfusionMatrix", named: bool) -> Sequence[int]:
    """The classes that are shown: all, or of many, or of numbers without names, those that occur."""
    count = len(matrix.names)
    if count <= (MOST_CLASSES if named else 2):
        return range(count)
    counts = matrix.counts
    return [k for k in range(count) if any(counts[k]) or matrix.without[k] or any(row[k] for row in counts)]


def _text(
    task: str, matrices: "Mapping[int | None, ConfusionMatrix]", lead: Mapping[int | None, str], places: Sequence[int]
) -> str:
    from fedmtl.core.text_table import TextColumn, fitted

    labels = [matrices[None].names[place] for place in places]
    lines: list[tuple[str, str, list[str]]] = []
    for client, matrix in matrices.items():
        for number, (place, label) in enumerate(zip(places, labels, strict=True)):
            # A client alone may lack the last classes.
            counts = matrix.counts[place] if place < len(matrix.counts) else []
            cells = [str(counts[other]) if other < len(counts) else "0" for other in places]
            lines.append(("" if number else lead[client], label, cells))
    parts = [TextColumn("client", [line[0] for line in lines]), TextColumn(task, [line[1] for line in lines])]
    parts += [TextColumn(label, [line[2][k] for line in lines]) for k, label in enumerate(labels)]
    return fitted(parts, columns()).text
