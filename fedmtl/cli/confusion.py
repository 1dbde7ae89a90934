"""Confusion matrices at the end of a run on a table, for tasks of few classes."""

from typing import TYPE_CHECKING

from fedmtl.cli.clients import last_tested
from fedmtl.core.terminal import columns, say

if TYPE_CHECKING:
    from fedmtl.runs.result import Result

MOST_CLASSES = 8
"""Most classes of a task whose matrix is printed."""

MOST_CLIENTS = 8
"""Most clients whose matrices are printed beside that of all together."""


def say_confusion(result: "Result") -> None:
    """Print a matrix for each task with few classes: of all clients together, and of each of few."""
    from fedmtl.analysis.confusion import confusions
    from fedmtl.core.text import escaped
    from fedmtl.core.text_table import TextColumn, fitted
    from fedmtl.tables.client_names import names_of
    from fedmtl.tables.schemas import TEST

    rows = [row for row in result.confusion if row["part"] == TEST]
    best, names = last_tested(result, rows), names_of(result.summary)
    classes = result.summary.get("names", {}).get("classes", {})
    for task in sorted({row["task"] for row in rows}):
        own = [row for row in rows if row["task"] == task and row["round"] == best]
        clients = sorted({row["client"] for row in own if row["client"] is not None})
        of = {
            client: found.get(None)
            for client in (None, *clients)
            if (found := confusions(own, client, classes.get(task, ())))
        }
        matrices = {client: matrix for client, matrix in of.items() if matrix is not None}
        if None not in matrices or not 2 <= len(matrices[None].names) <= MOST_CLASSES:
            continue
        shown = matrices if len(clients) <= MOST_CLIENTS else {None: matrices[None]}
        lead: list[str] = []
        truth: list[str] = []
        cells: list[list[int]] = []
        # Names of all, as a client alone may lack the last classes.
        labels = matrices[None].names
        for client, matrix in shown.items():
            for place, label in enumerate(labels):
                name = "all clients" if client is None else escaped(names.get(client, str(client)), 36)
                lead.append("" if place else name)
                truth.append(label)
                counts = matrix.counts[place] if place < len(matrix.counts) else []
                cells.append([counts[column] if column < len(counts) else 0 for column in range(len(labels))])
        parts = [TextColumn("client", lead), TextColumn(task, truth)]
        parts += [TextColumn(label, [str(row[place]) for row in cells]) for place, label in enumerate(labels)]
        say("")
        say(f"confusion of {task}: a line for each label, a column for each prediction, test examples")
        print(fitted(parts, columns()).text, flush=True)
