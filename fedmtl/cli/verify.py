"""``fedmtl verify``: algorithms against known numbers."""

from functools import partial
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.core.terminal import columns, say


def verify(algorithms: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="ALGORITHMS")] = None) -> None:
    """Check algorithms against known numbers, and print a report.

    ALGORITHMS are names (see: fedmtl list algorithms); default: all. Each line gives a check, what was expected and
    what was got; how the expected number is derived stands in fedmtl/verify/, in the check's docstring. Ends with
    exit code 1 if a check fails.
    """
    with one_clear_error():
        from fedmtl.verify.report import report

        passed = report(algorithms or [], partial(say, hanging="        "), columns())
    if not passed:
        raise typer.Exit(1)
