"""The end of a run on the terminal: each task, the mean score, bytes, and the baseline beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmtl.core.terminal import columns, say

LEAD = 12
"""Columns of the words to the left."""

INDENT = " " * (LEAD + 2)


def say_outcome(summary: Mapping[str, Any]) -> None:
    """Print what a run reached and what it sent."""
    from fedmtl.analysis.numbers import human_bytes, human_number

    for task, row in summary["tasks"].items():
        _say_task(task, row)
    sent = summary["bytes"]["train"]
    line("mean score", number(summary["mean_score"]))
    line(
        "training",
        f"up {human_bytes(sent['up'])}  down {human_bytes(sent['down'])}  total {human_bytes(sent['total'])}; "
        f"evaluation {human_bytes(summary['bytes']['evaluate']['total'])}",
    )
    if "simulated" in summary:
        spent = summary["simulated"]
        seconds, joules, wasted = human_number(spent["seconds"]), human_number(spent["joules"]), spent["wasted_bytes"]
        clients = f"{spent['in_time']} in time  {spent['late']} late  {spent['dropped']} dropped"
        line("simulated", f"{seconds} s  {joules} J  wasted {human_bytes(wasted)}; clients: {clients}")


def _say_task(task: str, row: Mapping[str, Any]) -> None:
    rest = f"client mean {number(row['client_mean'])}  worst tenth {number(row['worst_tenth'])}"
    higher, width = row["higher_is_better"], columns()
    text = f"{row['metric']} {number(row['value'])}  {rest}  ({'higher' if higher else 'lower'} is better)"
    if width is not None and max(len(task), LEAD) + 2 + len(text) > width:
        text = f"{row['metric']} {'↑' if higher else '↓'} {number(row['value'])}  {rest}"
    line(task, text)


def say_floor(summary: Mapping[str, Any], baseline: Mapping[str, Any]) -> None:
    """Print what the clients reach alone, and how far the run is from it."""
    score, floor = summary["mean_score"], baseline["mean_score"]
    text = f"mean score {number(floor)}, each client alone"
    if score is not None and floor is not None:
        gap = round(score - floor, 4)
        where = f"{abs(gap):.4f} {'above' if gap > 0 else 'below'} it" if gap else "level with it"
        text += f"; the run is {where}, with one seed"
    line("Local floor", text)


def say_folder(out: Path, drawn: bool = False) -> None:
    """Print where the run is kept, and how to draw it.

    Args:
        out: the run's folder.
        drawn: draw it now.
    """
    if not drawn:
        line("folder", f"{out}  (pictures and a table: fedmtl report {out})")
        return
    from fedmtl.analysis.report import write_report

    write_report([out], out)
    line("folder", f"{out}  (pictures and tables: {out / 'report.md'})")


def line(lead: str, text: str) -> None:
    say(f"{lead:>{LEAD}}  {text}", INDENT)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
