"""The table of bytes by column: packets, and what the transport adds, of the runs that have finished."""

from collections.abc import Sequence
from typing import Any

from fedmtl.analysis.byte_rows import COLUMNS, NOTE, WAYS, byte_totals
from fedmtl.analysis.groups import Group
from fedmtl.analysis.numbers import human_bytes
from fedmtl.analysis.report.numbers import to_csv
from fedmtl.analysis.report.tables import ReportTable
from fedmtl.core.markdown import table


def byte_table(problem: str, groups: Sequence[Group]) -> dict[str, tuple[ReportTable, str]]:
    """Return the table ``bytes`` and its CSV: means over seeds; nothing where no run has finished."""
    records: list[dict[str, Any]] = []
    for group in groups:
        totals = [byte_totals(run) for run in group.finished]
        for way in WAYS if totals else ():
            sums = {name: sum(one[way][name] for one in totals) / len(totals) for name in COLUMNS}
            records.append({"experiment": group.name, "direction": way, **sums})
    if not records:
        return {}
    lines = [[one["experiment"], one["direction"], *(human_bytes(one[name]) for name in COLUMNS)] for one in records]
    text = f"{table(['experiment', 'direction', *COLUMNS], lines, left=(0, 1))}\n{NOTE}\n"
    return {"bytes": (ReportTable(f"Bytes by column on {problem}.", text, 2), to_csv(records))}
