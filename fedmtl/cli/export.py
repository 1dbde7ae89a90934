"""``fedmtl export``: rows of a run as text, or a client's model as a file."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, STATE
from fedmtl.core.terminal import say


class What(StrEnum):
    """Tables that ``fedmtl export`` can export."""

    rounds = "rounds"
    ledger = "ledger"
    measures = "measures"
    confusion = "confusion"
    training = "training"
    bytes = "bytes"


class Format(StrEnum):
    """And as what."""

    jsonl = "jsonl"
    csv = "csv"
    torch = "torch"
    onnx = "onnx"


def export(
    folder: Annotated[Path, typer.Argument(hidden=True, metavar="RUN")],
    what: Annotated[
        What,
        typer.Option(
            show_default=False,
            help="rounds (a row a measurement; default), ledger, measures, confusion, training, bytes.",
        ),
    ] = What.rounds,
    format: Annotated[
        Format,
        typer.Option(
            show_default=False, help="jsonl (lines of JSON; default) or csv; torch or onnx for a client's model."
        ),
    ] = Format.jsonl,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Where to; default: standard output.")
    ] = None,
    client: Annotated[
        str | None, typer.Option(show_default=False, help="The client whose model is written, by name or number.")
    ] = None,
    state: Annotated[Path | None, STATE] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
) -> None:
    """Print the rows of a run as text, or write a client's model.

    RUN is a run folder, also of a run that goes on or was killed. The file is read and printed bit by bit, so any
    length will do: fedmtl export runs/first --what ledger --format csv --out ledger.csv

    A model is a program of torch.export or an ONNX file, which takes a batch of any size; it is compared with the
    model on random inputs before it is written: fedmtl export runs/first --format onnx --client 3 --out model.onnx
    """
    with one_clear_error():
        if format in (Format.torch, Format.onnx):
            if client is None or out is None:
                raise ValueError(
                    f"--format {format.value} writes a client's model: add --client NAME and --out FILE; rows are "
                    "jsonl or csv."
                )
            from fedmtl.export.write_model import write_model

            length = write_model(folder, client, format.value, out, allow or (), state)
            say(f"model of client {client}, {length} bytes: {out}")
            return
        if client is not None:
            raise ValueError(
                f"--client {client} is for a model, --format torch or onnx; rows of all clients are {format.value}."
            )
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
