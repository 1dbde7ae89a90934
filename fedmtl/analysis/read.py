"""From a run's folder to its rows: the only reader of what a run wrote."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fedmtl.analysis.runs import Run
from fedmtl.core.bounds import check_text, shown
from fedmtl.core.field_types import check_type
from fedmtl.core.file_format import OtherFormat
from fedmtl.core.files import Folder
from fedmtl.core.toml import read_toml
from fedmtl.runs.labels import describe
from fedmtl.runs.run_failure import Failure, read_failure
from fedmtl.runs.summary import summary_from_bytes
from fedmtl.tables.blocks import Mark
from fedmtl.tables.schemas import CONFUSION, LEDGER, MEASURES, METRICS, TRAINING, Row, Table, read_table, rows

MARKS = ("experiment.toml", METRICS.file, LEDGER.file)
"""A folder that holds these files is a run."""

READ = ("summary.json", "diagnostics.json", "size.json", "failure.json")
"""Files besides, of which a run has some."""


def read_run(folder: str | Path) -> Run:
    """The run that a folder holds. A run that was killed is read up to its last whole block.

    Raises:
        FileNotFoundError: the folder is not a run; the message names what is missing.
        ValueError: a file that no run writes so, or that is damaged.
    """
    folder = Path(folder)
    experiment = check_run(folder)
    summary = read_summary(folder / "summary.json", experiment)
    metrics, transfers = (_read_rows(folder, table, summary) for table in (METRICS, LEDGER))
    others = (partial(_read_others, folder, table, summary) for table in (MEASURES, CONFUSION, TRAINING))
    return Run(folder, experiment, metrics, transfers, summary, read_failure(folder), *others)


def empty_run(folder: Path, experiment: Mapping[str, Any], failure: Failure) -> Run:
    """A run that failed before it wrote anything.

    Args:
        folder: the one that it would have.
        experiment: resolved, as in ``experiment.toml``.
        failure: what ended it.
    """
    return Run(folder, dict(experiment), [], [], _labels(experiment), failure)


def check_run(folder: Path) -> dict[str, Any]:
    """The experiment of a folder's run.

    Raises:
        FileNotFoundError: the folder is not a run; the message names what is missing.
        ValueError: an experiment that no run writes so.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; make a run with `fedmtl run … --out {folder}`.")
    files = Folder(folder)
    for name in READ:  # refuses links: what they lead to is none of the run's
        files.exists(name)
    missing = [mark for mark in MARKS if not files.exists(mark)]
    if missing == [METRICS.file, LEDGER.file] and all((folder / table.export).is_file() for table in (METRICS, LEDGER)):
        raise FileNotFoundError(
            f"{folder} holds a run of an earlier fedmtl, without {' and '.join(missing)}; read it with that version, "
            f"or run its experiment again: fedmtl run {folder / MARKS[0]} --out DIR."
        )
    if missing:
        raise FileNotFoundError(
            f"{folder} is not a run: {', '.join(missing)} missing; make one with `fedmtl run … --out {folder}`."
        )
    try:
        experiment = read_toml(folder / "experiment.toml")
    except ValueError as error:
        raise ValueError(f"{error} Run the experiment again.") from None
    wanted = ("seed", "rounds", "data", "algorithm", "up_codec", "down_codec")
    lacking = [key for key in wanted if key not in experiment]
    if lacking:
        raise ValueError(f"{folder / 'experiment.toml'} lacks {', '.join(lacking)}; a resolved experiment states them.")
    _check_experiment(folder / "experiment.toml", experiment)
    return experiment


def _check_experiment(path: Path, experiment: Mapping[str, Any]) -> None:
    """Check what tables and plots take from a resolved experiment, whose components are not made, nor imported."""
    for key in ("seed", "rounds"):
        check_type(f"{path}: {key}", experiment[key], int)
    for key in ("data", "algorithm", "up_codec", "down_codec"):
        _check_component(f"{path}: {key}", experiment[key])
    for key in ("runtime", "engine"):
        if isinstance(experiment.get(key), Mapping):  # a text in runs of an earlier fedmtl
            _check_component(f"{path}: {key}", experiment[key])
        else:
            check_text(f"{path}: {key}", str(experiment.get(key, "")))
    check_type(f"{path}: name", experiment.get("name", ""), str)
    check_text(f"{path}: name", experiment.get("name", ""))


def _check_component(what: str, table: Any) -> None:
    """A table with a name, and so inside it."""
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ValueError(f"{what} is a table with a name, got {shown(table)}; a resolved experiment has one.")
    for key, value in table.items():
        check_text(f"{what}: a field", key)
        if isinstance(value, str):
            check_text(f"{what}: {key}", value)
        elif isinstance(value, Mapping) and "name" not in value and key in ("layers", "kinds"):
            for glob, inner in value.items():
                check_text(f"{what}: {key}", glob)
                if isinstance(inner, str):
                    check_text(f"{what}: {key}: {shown(glob)}", inner)
                else:
                    _check_component(f"{what}: {key}: {shown(glob)}", inner)
        elif isinstance(value, Mapping):
            _check_component(f"{what}: {key}", value)
        elif isinstance(value, list):
            for inner in value:
                if isinstance(inner, Mapping):
                    _check_component(f"{what}: {key}", inner)


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
    """Return the end of a table's file, from the summary of a finished run; None for one that has not finished."""
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


def _read_others(folder: Path, table: Table, summary: Mapping[str, Any]) -> list[Row]:
    """Rows of a table that runs of an earlier fedmtl do not have."""
    return _read_rows(folder, table, summary) if has_table(folder, table, summary) else []


def has_table(folder: Path, table: Table, summary: Mapping[str, Any]) -> bool:
    """True where a run has a table: an earlier fedmtl wrote metrics and ledger alone."""
    return table.file in summary.get("files", {}) or Folder(folder).exists(table.file)


def read_summary(path: Path, experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The summary, or the labels that it would have."""
    if path.is_file():
        try:
            return summary_from_bytes(path.read_bytes(), path)
        except OtherFormat:
            raise
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); delete it and resume the run.") from None
    return _labels(experiment)


def _labels(experiment: Mapping[str, Any]) -> dict[str, Any]:
    algorithm, up, down = (describe(experiment[key]) for key in ("algorithm", "up_codec", "down_codec"))
    codecs = up if up == down else f"{up} up, {down} down"
    return {"label": f"{algorithm} / {codecs}", "algorithm": algorithm, "up_codec": up, "down_codec": down}
