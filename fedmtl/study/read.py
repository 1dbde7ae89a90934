"""From a run's folder to its rows: the only reader of what a run wrote."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedmtl.comm.blocks import Mark
from fedmtl.comm.tables import LEDGER, METRICS, TABLES, Row, Table, read_table, rows
from fedmtl.study.names import describe
from fedmtl.study.run import Run

MARKS = ("experiment.toml", METRICS.file, LEDGER.file)
"""A folder that holds these files is a run."""


def read_run(folder: str | Path) -> Run:
    """The run that a folder holds. A run that was killed is read up to its last whole block.

    Raises:
        FileNotFoundError: the folder is not a run; the message names what is missing.
        ValueError: a file that no run writes so, or that is damaged.
    """
    folder = Path(folder)
    experiment = check_run(folder)
    summary = read_summary(folder / "summary.json", experiment)
    return Run(folder, experiment, _read_rows(folder, METRICS, summary), _read_rows(folder, LEDGER, summary), summary)


def check_run(folder: Path) -> dict[str, Any]:
    """The experiment of a folder's run.

    Raises:
        FileNotFoundError: the folder is not a run; the message names what is missing.
        ValueError: an experiment that no run writes so.
    """
    missing = [mark for mark in MARKS if not (folder / mark).is_file()]
    if missing == [METRICS.file, LEDGER.file] and all((folder / table.export).is_file() for table in TABLES):
        raise FileNotFoundError(
            f"{folder} holds a run of an earlier fedmtl, without {' and '.join(missing)}; read it with that version, "
            f"or run its experiment again: fedmtl run {folder / MARKS[0]} --out DIR."
        )
    if missing:
        raise FileNotFoundError(
            f"{folder} is not a run: {', '.join(missing)} missing; make one with `fedmtl run … --out {folder}`."
        )
    try:
        experiment = tomllib.loads((folder / "experiment.toml").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / 'experiment.toml'} is not TOML: {error}; run the experiment again.") from None
    wanted = ("seed", "rounds", "data", "algorithm", "up_codec", "down_codec")
    lacking = [key for key in wanted if key not in experiment]
    if lacking:
        raise ValueError(f"{folder / 'experiment.toml'} lacks {', '.join(lacking)}; a resolved experiment states them.")
    return experiment


def find_runs(folders: Iterable[str | Path]) -> list[Path]:
    """The runs among some folders and below them, at any depth: sorted, each once.

    Raises:
        FileNotFoundError: a folder that does not exist, or neither is a run nor holds one.
    """
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder; make a run with `fedmtl run … --out {folder}`.")
        below = [path.parent for path in sorted(folder.rglob(MARKS[0])) if _is_run(path.parent)]
        if not below:
            raise FileNotFoundError(
                f"No run in {folder}: no folder there holds {', '.join(MARKS)}; "
                f"make one with `fedmtl run … --out {folder}`."
            )
        for path in below:
            found.setdefault(path.resolve(), path)
    return [found[path] for path in sorted(found)]


def _is_run(folder: Path) -> bool:
    return all((folder / mark).is_file() for mark in MARKS)


def mark_of(folder: Path, table: Table, summary: Mapping[str, Any]) -> Mark | None:
    """How far the file of a table goes, as the summary of a run that has ended says; None of one that has not."""
    files = summary.get("files")
    if files is None:
        return None
    try:
        mark = Mark(**files[table.file])
    except (TypeError, KeyError):
        raise ValueError(
            f"{folder / 'summary.json'} lacks bytes, lines and checksum of {table.file}; delete it and resume the run."
        ) from None
    return mark


def _read_rows(folder: Path, table: Table, summary: Mapping[str, Any]) -> list[Row]:
    return list(rows(table, read_table(folder, table, mark_of(folder, table, summary))))


def read_summary(path: Path, experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The summary, or the labels that it would have."""
    if path.is_file():
        try:
            return json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}; delete it and resume the run.") from None
    algorithm, up, down = (describe(experiment[key]) for key in ("algorithm", "up_codec", "down_codec"))
    codecs = up if up == down else f"{up} up, {down} down"
    return {"label": f"{algorithm} / {codecs}", "algorithm": algorithm, "up_codec": up, "down_codec": down}
