"""The result of a finished run, from its folder."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from fedmtl.analysis.read import check_run, mark_of, read_summary
from fedmtl.export.finished import read_finished
from fedmtl.export.trained import TrainedModels
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.result import Result, diagnostics_of
from fedmtl.tables.schemas import CONFUSION, LEDGER, MEASURES, METRICS, TRAINING, Row, Table, read_table, rows


def load_result(
    folder: str | Path,
    *,
    experiment: Experiment | None = None,
    allow: Iterable[str] = (),
    state: str | Path | None = None,
) -> Result:
    """Read the result of a finished run from its folder: rows, ledger, summary, and the models of its clients.

    >>> import fedmtl
    >>> result = fedmtl.load_result("runs/first")  # doctest: +SKIP
    >>> result.predict("site7", x)["sick"].values  # doctest: +SKIP

    Args:
        folder: of the run.
        experiment: of the run, where its model or algorithm was passed as an object that no file names.
        allow: modules that its components may come from besides fedmtl: a run folder is not a program.
        state: a node's state folder (``state-dir``), where private states are kept outside the run folder.

    Raises:
        FileNotFoundError: no run folder, or a run that is not finished.
        ValueError: a file that is damaged, or a component that is not allowed or was passed as an object.
    """
    folder = Path(folder)
    check_run(folder)
    run = read_finished(folder, allow, None if state is None else Path(state), experiment)
    summary = read_summary(folder / "summary.json", {})
    metrics, ledger, measures, confusion, training = (
        partial(_rows, folder, table, summary) for table in (METRICS, LEDGER, MEASURES, CONFUSION, TRAINING)
    )
    diagnostics = diagnostics_of(run.plan.algorithm, run.server)
    others = measures, confusion, training
    return Result(metrics, ledger, summary, run.server, folder, diagnostics, *others, lambda: TrainedModels(run))


def _rows(folder: Path, table: Table, summary: dict[str, object]) -> list[Row]:
    return list(rows(table, read_table(folder, table, mark_of(folder, table, summary))))
