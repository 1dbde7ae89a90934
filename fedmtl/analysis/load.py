"""A run of a folder, from Python."""

from pathlib import Path

from fedmtl.analysis.read import read_run
from fedmtl.analysis.runs import Run


def load_run(folder: str | Path) -> Run:
    """Read what a run left in its folder, also of a run that goes on, failed or was killed.

    >>> import fedmtl
    >>> run = fedmtl.load_run("runs/first")  # doctest: +SKIP
    >>> run.score(), run.training_bytes(), run.mean_score_curve().values  # doctest: +SKIP

    ``run.rows`` has a dict for each round, client and task, and ``run.transfers`` one for each packet:
    ``pandas.DataFrame(run.rows)`` is a table.

    Raises:
        FileNotFoundError: the folder is not a run; the message names what is missing.
        ValueError: a file that is damaged.
    """
    return read_run(folder)
