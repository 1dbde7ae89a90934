"""``fedmtl predict``: predictions of a run's client for new examples."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, STATE
from fedmtl.core.terminal import say


def predict(
    folder: Annotated[Path, typer.Argument(hidden=True, metavar="RUN")],
    file: Annotated[Path, typer.Argument(hidden=True, metavar="FILE")],
    client: Annotated[
        str,
        typer.Option(
            show_default=False,
            help="The client, by its name or its number; of a run on a table without one, each row is predicted by the "
            "client that it names.",
        ),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Where to; default: standard output.")
    ] = None,
    state: Annotated[Path | None, STATE] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
) -> None:
    """Predict new examples with the model of a run's client.

    RUN is the folder of a finished run.

    FILE is a CSV with a line an example. Of a run on a table (fedmtl run --data) it has the table's columns, by name,
    and may be Parquet; else the features in the order of the run's data, with or without a header. The output is a CSV
    with a line an example, in the order of FILE: a column for each of the client's tasks, and one for the probability
    of the class that is predicted.
    """
    with one_clear_error():
        from fedmtl.export.csv_predictions import predict_csv

        text, rows = predict_csv(folder, client, file, allow or (), state)
        if out is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        from fedmtl.core.file_errors import named_errors
        from fedmtl.core.files import write_atomic

        with named_errors(out):
            write_atomic(out, text.encode())
        say(f"{rows} examples: {out}")
