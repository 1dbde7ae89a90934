"""``fedmtl watch``: the page of runs that go on."""

from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error


def watch(
    folders: Annotated[list[Path], typer.Argument(hidden=True)],
    port: Annotated[int | None, typer.Option(help="Port of the address; default: any that is free.")] = None,
) -> None:
    """Serve the page of runs while they go on.

    FOLDERS are run folders, or folders that will hold some. The page is that of `fedmtl report --html`, reads the runs
    every two seconds, and is for browsers of this machine alone. Ctrl-C ends it.
    """
    with one_clear_error():
        from fedmtl.analysis.html.serve import server

        with server(folders, port or 0) as serving:
            typer.echo(f"http://127.0.0.1:{serving.server_address[1]}/")
            serving.serve_forever()
