"""``fedmtl report``: pictures and a table of runs."""

from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error


def report(
    folders: Annotated[list[Path], typer.Argument(hidden=True)],
    out: Annotated[Path | None, typer.Option(help="Where to; default: the first folder.")] = None,
    target: Annotated[
        float | None, typer.Option(help="Mean score to reach; the table gives the bytes it took.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Write report.html alone, a page to explore.")] = False,
) -> None:
    """Draw pictures of runs, and write a table.

    FOLDERS are run folders, or folders that hold them at any depth. The pictures show scores against rounds and
    against bytes, for each task and each client; beside each PNG are PDF, SVG and the numbers as CSV, beside each
    table LaTeX and Markdown. Runs that have not finished or have diverged are rows that say so, and in no mean and no
    picture; the exit code is 0 all the same.

    With --html all is one page that needs no network: choose runs and tasks, and point at what is drawn.
    """
    with one_clear_error():
        if html:
            from fedmtl.analysis.html import write_html

            typer.echo(write_html(folders, out or folders[0]))
            return
        from fedmtl.analysis.report import write_report

        for path in write_report(folders, out or folders[0], target):
            if path.suffix == ".png" or path.name in (
                "table.csv",
                "report.md",
            ):  # their like in other formats is beside
                typer.echo(path)
