"""Cost of small models as a Markdown table."""

import json
from pathlib import Path
from typing import Any

from fedmtl.analysis.numbers import NOTHING, human_bytes
from fedmtl.analysis.table import MAX_COLUMNS
from fedmtl.core.file_format import OtherFormat, check_format


def markdown(summary: dict[str, Any]) -> str:
    """``cells`` as a Markdown table."""
    header, *rows = cells(summary)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(summary: dict[str, Any]) -> list[list[str]]:
    """The header, and a row for each format of a ``summary``: the mean file, the mean score, and each task's metric.

    With more than ``MAX_COLUMNS`` tasks, the CSV alone has them.
    """
    formats = summary["formats"]
    tasks = next(iter(formats.values()))["tasks"]
    shown = tasks if len(tasks) <= MAX_COLUMNS else {}
    header = ["format", "bytes a client", "times smaller", "mean score ↑"]
    header += [f"{name}: {task['metric']} {'↑' if task['higher_is_better'] else '↓'}" for name, task in shown.items()]
    lines = [header]
    for name, found in formats.items():
        first = [name, human_bytes(found["bytes_per_client"]), f"{found['times_smaller']:.2f}"]
        lines.append([*first, *map(_number, (found["mean_score"], *(found["tasks"][task]["value"] for task in shown)))])
    return lines


def read_markdown(path: Path) -> str:
    """``markdown`` of a ``size.json``.

    Raises:
        OtherFormat: a file of another release.
        ValueError: a file that ``fedmtl shrink`` does not write; the message names it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and "formats" in found:
            check_format(path, found.get("format", 1), "shrink again, or read it with the release that wrote it")
        return markdown(found)
    except OtherFormat:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not what fedmtl shrink writes ({reason}); delete it, or shrink again.") from None


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
