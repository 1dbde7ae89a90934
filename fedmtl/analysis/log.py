"""Callbacks after the fact: rows of runs that are on disk."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fedmtl.analysis.read import check_run, find_runs, has_table, mark_of, read_summary
from fedmtl.callbacks.base import RunInfo
from fedmtl.callbacks.replay import exchanges
from fedmtl.callbacks.runner import CallbackRunner
from fedmtl.runs.run_folder import read_word
from fedmtl.tables.blocks import Mark
from fedmtl.tables.schemas import TABLES


def log_runs(folders: Iterable[str | Path], callbacks: Sequence[Any]) -> Iterator[Path]:
    """Give the rows of runs to callbacks, and each run's folder to the caller when its rows are there.

    Args:
        folders: of runs, or folders that hold them at any depth.
        callbacks: objects.

    Raises:
        FileNotFoundError: a folder that does not exist, or neither is a run nor holds one.
        ValueError: a file that no run writes so, or that is damaged.
        RuntimeError: a callback that raised.
        MissingPackage: a callback's package is not installed.
    """
    for folder in find_runs(folders):
        _log(folder, callbacks)
        yield folder


def _log(folder: Path, callbacks: Sequence[Any]) -> None:
    experiment = check_run(folder)
    summary = read_summary(folder / "summary.json", experiment)
    had = [table for table in TABLES if has_table(folder, table, summary)]  # not all of an earlier fedmtl's
    marks = {table.name: mark_of(folder, table, summary) if table in had else Mark() for table in TABLES}
    run = RunInfo(read_word(folder), folder.resolve().name, summary["label"], experiment, folder)
    runner = CallbackRunner(callbacks, run, _refuse)
    try:
        runner.replay(exchanges(folder, marks))
        runner.end(summary if "tasks" in summary else None)
    finally:
        runner.end(None)


def _refuse(message: str) -> None:
    """Here a callback is all there is to do."""
    raise RuntimeError(message)
