"""Files that a run writes at its end: model, diagnostics, summary and lines of JSON."""

from collections.abc import Mapping
from typing import Any

from safetensors.torch import save as save_tensors

from fedmtl.core.files import Folder
from fedmtl.runs.result import diagnostics_of, diagnostics_text, named_tensors
from fedmtl.runs.summary import summary_to_bytes
from fedmtl.server.server import Server
from fedmtl.tables.blocks import Mark
from fedmtl.tables.client_names import named
from fedmtl.tables.lines import json_lines
from fedmtl.tables.schemas import TABLES, read_table
from fedmtl.tasks.base import Task
from fedmtl.tasks.names import class_names

EXPORTED = 100_000
"""Lines of a run, metrics and ledger together, up to which it leaves them as JSON too when it ends."""


def names_in(tasks: Mapping[str, Task], clients: Mapping[int, str]) -> dict[str, Any]:
    """The part of a summary with the names of clients and classes; empty where the user gave none."""
    classes = {task: list(found) for task, kind in tasks.items() if (found := class_names(kind))}
    if not clients and not classes:
        return {}
    return {"names": {"clients": {str(k): name for k, name in clients.items()}, "classes": classes}}


def write_results(
    files: Folder, server: Server, marks: Mapping[str, Mark], summary: dict[str, Any], names: Mapping[int, str]
) -> None:
    """Write a run's results, the summary last: it stands for a finished run.

    Args:
        files: the run's folder.
        server: after the last round.
        marks: ends of the tables' files; the summary gets them.
        summary: of the run.
        names: that the user gave clients.
    """
    if tensors := named_tensors(server.state):
        files.write("model.safetensors", save_tensors(tensors))
    if diagnostics := diagnostics_of(server.plan.algorithm, server.state):
        files.write("diagnostics.json", diagnostics_text(diagnostics, server.roster).encode())
    summary["files"] = {table.file: marks[table.name]._asdict() for table in TABLES}
    _export(files, marks, names)
    files.write("summary.json", summary_to_bytes(summary))


def _export(files: Folder, marks: Mapping[str, Mark], names: Mapping[int, str]) -> None:
    """Write the tables of a short run as lines of JSON too, for other programs: nothing here reads them back."""
    if sum(mark.lines for mark in marks.values()) <= EXPORTED:
        for table in TABLES:
            text = "".join(json_lines(named(table, names), read_table(files.root, table, marks[table.name])))
            files.write(table.export, text.encode())
