"""``fedmtl run --picture FILE``: each task's score against the bytes that were sent for it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmtl.runs.experiment import Experiment
    from fedmtl.runs.result import Result

SUFFIXES = (".png", ".pdf", ".svg")


def check_picture(path: Path, name: str, made: Path | None = None) -> None:
    """Refuse a file that no picture can be written to, before anything is loaded.

    Args:
        path: the file.
        name: one that it could have.
        made: a folder that will be there.

    Raises:
        ValueError: another suffix, or no such folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--picture writes a .png, .pdf or .svg, got {str(path)!r}; name it {name}.")
    folder = path.resolve().parent
    if not folder.is_dir() and (made is None or folder != made.resolve()):
        raise ValueError(f"--picture: there is no folder {str(folder)!r}; make it first.")


def draw_runs(runs: Iterable[tuple["Experiment", "Result"]], path: Path) -> None:
    """Draw finished runs: a panel for each task, its metric over the bytes of training."""
    import tomllib

    import tomli_w

    from fedmtl.analysis.groups import group_runs
    from fedmtl.analysis.report.style import write_figure
    from fedmtl.analysis.report.task_bytes import task_bytes
    from fedmtl.analysis.runs import Run

    read = [
        Run(
            result.folder or Path(str(number)),
            tomllib.loads(tomli_w.dumps(experiment.to_dict())),  # as a run's folder has it
            result.rows,
            result.ledger,
            result.summary,
        )
        for number, (experiment, result) in enumerate(runs)
    ]
    picture = task_bytes(group_runs(read))
    if picture is not None:
        write_figure(picture.figure, path.resolve())
