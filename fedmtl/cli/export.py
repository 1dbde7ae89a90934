"""``fedmtl export``: rows of a run as text."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error


class What(StrEnum):
    """Tables that ``fedmtl export`` can export."""

    rounds = "rounds"
    ledger = "ledger"
    measures = "measures"
    confusion = "confusion"
    training = "training"


class Format(StrEnum):
    """And as what."""

    jsonl = "jsonl"
    csv = "csv"


def export(
    folder: Annotated[Path, typer.Argument(hidden=True, metavar="RUN")],
    what: Annotated[
        What,
        typer.Option(
            show_default=False, help="rounds (a row a measurement; default), ledger, measures, confusion, training."
        ),
    ] = What.rounds,
    format: Annotated[Format, typer.Option(show_default=False, help="Lines of JSON (default), or CSV.")] = Format.jsonl,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Where to; default: standard output.")
    ] = None,
) -> None:
    """Print the rows of a run as text, for other programs.

    RUN is a run folder, also of a run that goes on or was killed. The file is read and printed bit by bit, so any
    length will do: fedmtl export runs/first --what ledger --format csv --out ledger.csv
    """
    with one_clear_error():
        from fedmtl.analysis.export import export as export_table
        from fedmtl.analysis.export import write_export

        text = export_table(folder, what.value, format.value)
        if out is not None:
            write_export(text, out)
            return
        try:
            for piece in text:
                sys.stdout.write(piece)
            sys.stdout.flush()
        except BrokenPipeError:  # `| head` has what it wants; Python must not flush once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
