"""Metrics beside the primary one, recall of each class, and confusion matrices, of the models that runs end with."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from fedmtl.analysis.confusion import ConfusionMatrix
from fedmtl.analysis.groups import Group
from fedmtl.analysis.intervals import Estimate, estimate
from fedmtl.analysis.numbers import NOTHING, human_estimate
from fedmtl.analysis.report.numbers import to_csv
from fedmtl.analysis.report.tables import ReportTable, files
from fedmtl.core.markdown import table
from fedmtl.metrics import MEASURES

if TYPE_CHECKING:
    from fedmtl.analysis.report.figure import Picture

MOST_CLASSES = 30
"""Most classes of a task that have a row or a panel; ``fedmtl export RUN --what confusion`` has all."""


def further_tables(problem: str, groups: Sequence[Group]) -> dict[str, tuple[ReportTable, str]]:
    """Name -> table and CSV: ``measures`` and ``recall``, where the runs have them."""
    found: dict[str, tuple[ReportTable, str]] = {}
    for name, caption, keys, records in (
        ("measures", f"Metrics beside the primary one on {problem}.", ("experiment", "task"), _measures(groups)),
        ("recall", f"Recall of each class on {problem}.", ("task", "class"), _recalls(groups)),
    ):
        if records:
            found[name] = (
                ReportTable(caption, _markdown(keys, records), len(keys)),
                to_csv([_flat(record) for record in records]),
            )
    return found


def table_files(name: str, prefix: str, table: ReportTable, csv: str) -> dict[str, bytes]:
    """One of these tables in all formats."""
    return files(f"{prefix}{name}", [table], csv)


def confusion_pictures(groups: Sequence[Group]) -> list["Picture"]:
    """A picture for each task with classes: a matrix for each group, its seeds together."""
    from fedmtl.analysis.report.matrices import confusion_matrices

    drawn = []
    for task in sorted({task for group in groups for task in group.metrics}):
        panels = [(group.name, total) for group in groups if (total := _total(group, task)) is not None]
        if panels and len(panels[0][1].names) <= MOST_CLASSES:
            drawn.append(confusion_matrices(f"confusion-{len(drawn) + 1}", task, panels))
    return drawn


def _measures(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """A record for each group and task."""
    records = []
    for group in groups:
        for task in group.metrics:
            values = {
                name: estimate([run.measure(task, name) for run in group.finished if task in run.metrics])
                for name in MEASURES
            }
            shown = {name: value for name, value in values.items() if isfinite(value.mean)}
            if shown:
                records.append({"experiment": group.name, "task": task, **shown})
    return records


def _recalls(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """A record for each class of each task: its recall by group."""
    records: dict[tuple[str, str], dict[str, Any]] = {}
    for group in groups:
        for task in group.metrics:
            found = [run.confusion(task).get(None) for run in group.finished if task in run.metrics]
            matrices = [matrix for matrix in found if matrix is not None and len(matrix.names) <= MOST_CLASSES]
            for name in matrices[0].names if matrices else ():
                shares = [m.recall[m.names.index(name)] for m in matrices if name in m.names]
                values = [share for share in shares if share is not None]
                record = records.setdefault((task, name), {"task": task, "class": name})
                if values:
                    record[group.name] = estimate(values)
    return [records[key] for key in records]


def _total(group: Group, task: str) -> ConfusionMatrix | None:
    """The matrix of all finished seeds together; None where they have none, or not the same classes."""
    found = [run.confusion(task).get(None) for run in group.finished if task in run.metrics]
    matrices = [matrix for matrix in found if matrix is not None]
    matrices = [matrix for matrix in matrices if any(map(any, matrix.counts)) or any(matrix.without)]
    if not matrices or any(matrix.names != matrices[0].names for matrix in matrices):
        return None
    size = range(len(matrices[0].names))
    counts = [[sum(matrix.counts[i][k] for matrix in matrices) for k in size] for i in size]
    return ConfusionMatrix(matrices[0].names, counts, [sum(matrix.without[i] for matrix in matrices) for i in size])


def _markdown(keys: Sequence[str], records: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for record in records for key in record if key not in keys))
    head = [*keys, *(column.replace("_", " ") if keys[0] == "experiment" else column for column in columns)]
    lines = []
    for record in records:
        values = [human_estimate(record[column]) if column in record else NOTHING for column in columns]
        lines.append([*(str(record[key]) for key in keys), *values])
    return table(head, lines, left=range(len(keys)))


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= {key: value.mean, f"{key}_ci95": value.half} if isinstance(value, Estimate) else {key: value}
    return flat
