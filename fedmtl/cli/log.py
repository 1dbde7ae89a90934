"""``fedmtl log``: rows of finished runs to callbacks."""

from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, CALLBACK


def log(
    folders: Annotated[list[Path], typer.Argument(hidden=True)],
    callback: Annotated[list[str] | None, CALLBACK] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
) -> None:
    """Give the rows of runs to callbacks, such as TensorBoard.

    FOLDERS are run folders, or folders that hold them at any depth; a run that goes on, or was killed, gives what it
    has. A run that was logged before replaces what it wrote: fedmtl log runs/compare --callback MLflow
    """
    with one_clear_error():
        if not callback:
            raise ValueError("fedmtl log gives rows to callbacks, got none; add --callback TensorBoard, say.")
        from fedmtl.analysis.log import log_runs
        from fedmtl.registry.allowed import Allowed
        from fedmtl.registry.components import make_list

        for folder in log_runs(folders, make_list("callback", callback, Allowed(modules=tuple(allow or ())))):
            typer.echo(folder)
