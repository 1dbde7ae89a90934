"""``fedmtl shrink``: small models after a run."""

from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, STATE
from fedmtl.core.terminal import columns, say
from fedmtl.core.text_table import TextColumn, fitted


def shrink(
    folder: Annotated[Path, typer.Argument(hidden=True)],
    keep: Annotated[
        list[float] | None, typer.Option(help="The fraction of the weights that pruning keeps; default: 0.5, 0.2, 0.1.")
    ] = None,
    clients: Annotated[int, typer.Option(show_default=False, help="How many clients, drawn; default: all.")] = 0,
    state: Annotated[Path | None, STATE] = None,
    export: Annotated[Path | None, typer.Option(help="Folder for the files, <client>/<format>.small.")] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
) -> None:
    """Make clients' models small after a run: int8, pruned, both.

    FOLDER is the folder of a finished run. The table gives the mean length of a client's file and what the models
    that are read back from the files reach on the clients' test examples. size.json and size.csv go to the folder.
    """
    with one_clear_error():
        import json

        from fedmtl.analysis.sizes import cells, markdown
        from fedmtl.export.formats import MODEL_FORMATS, model_formats
        from fedmtl.export.outputs import summary, to_csv
        from fedmtl.export.shrink import shrink as make_small
        from fedmtl.runs.run_folder import write_outputs

        shrunk = make_small(folder, model_formats(keep) if keep else MODEL_FORMATS, clients, state, export, allow or ())
        found = summary(shrunk)
        write_outputs(folder, {"size.json": json.dumps(found, indent=2).encode(), "size.csv": to_csv(shrunk).encode()})
        typer.echo(markdown(found) if columns() is None else _table(cells(found)) + "\n")
        if found["left_out"]:
            say(f"left out, their private state is elsewhere: {len(found['left_out'])} clients")
        say(f"{found['clients']} clients: {folder / 'size.json'}, {folder / 'size.csv'}")


def _table(cells: list[list[str]]) -> str:
    """The table, without the tasks for which the terminal has no column."""
    head, *rows = cells
    ranks = [0, 0, 0, 0, *range(1, len(head) - 3)]
    parts = zip(head, zip(*rows, strict=True), ranks, strict=True)
    return fitted([TextColumn(*part) for part in parts], columns()).text
