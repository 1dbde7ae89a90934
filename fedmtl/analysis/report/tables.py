"""The tables of a report, each as Markdown, CSV and LaTeX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedmtl.analysis.gains import Gain, gains_markdown
from fedmtl.analysis.report.latex import latex
from fedmtl.analysis.report.numbers import to_csv
from fedmtl.analysis.table import markdown
from fedmtl.analysis.table import to_csv as rows_to_csv
from fedmtl.analysis.table_row import ExperimentRow
from fedmtl.core.markdown import cells


@dataclass(frozen=True)
class ReportTable:
    """A table of Markdown, as a page shows it."""

    caption: str
    markdown: str
    """The table, and lines of text around it, which LaTeX has not."""
    keys: int = 1
    """Number of first columns that name a row."""

    def latex(self, label: str) -> str:
        """The cells in LaTeX."""
        header, marks, *body = [cells(line) for line in self.markdown.splitlines() if line.startswith("|")]
        return latex([header, *body], [mark.endswith(":") for mark in marks], self.caption, label, self.keys)


def files(name: str, tables: Sequence[ReportTable], csv: str) -> dict[str, bytes]:
    """Some tables of one kind as Markdown and LaTeX, beside a CSV of all of them in full precision."""
    several = len(tables) > 1
    page = "\n".join((f"**{each.caption}**\n\n" if several else "") + each.markdown for each in tables)
    text = "\n".join(
        each.latex(f"tab:{name}{f'-{number}' if several else ''}") for number, each in enumerate(tables, start=1)
    )
    return {f"{name}.csv": csv.encode(), f"{name}.md": page.encode(), f"{name}.tex": text.encode()}


def result_files(rows: Sequence[ExperimentRow]) -> dict[str, bytes]:
    """``table``: what each experiment reached, and what it sent; a table for each problem."""
    problems = list(dict.fromkeys(row.problem for row in rows))
    tables = [ReportTable(f"Results on {p}.", markdown([row for row in rows if row.problem == p])) for p in problems]
    return files("table", tables, rows_to_csv(rows))


def gain_files(held: Sequence[Gain]) -> dict[str, bytes]:
    """``gains``: each experiment against learning alone."""
    if not held:
        return {}
    problems = list(dict.fromkeys(gain.problem for gain in held))
    tables = [
        ReportTable(f"Gains over learning alone on {p}.", gains_markdown([gain for gain in held if gain.problem == p]))
        for p in problems
    ]
    return files("gains", tables, to_csv([_gain_record(gain) for gain in held]))


def _gain_record(gain: Gain) -> Mapping[str, Any]:
    flat = {
        "problem": gain.problem, "name": gain.name, "baseline": gain.baseline, "seeds": " ".join(map(str, gain.seeds)),
        "score_gain": gain.mean.mean, "score_gain_low": gain.mean.low, "score_gain_high": gain.mean.high,
        "worst_tenth": gain.worst_tenth.mean, "worst_tenth_low": gain.worst_tenth.low,
        "worst_tenth_high": gain.worst_tenth.high, "losing": " ".join(gain.losing), "verdict": gain.verdict,
    }  # fmt: skip
    for task, own in gain.tasks.items():
        flat |= {f"{task}_gain": own.mean, f"{task}_gain_low": own.low, f"{task}_gain_high": own.high}
    return flat
