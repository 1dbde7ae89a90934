"""Scripts as programs: the arguments of a function are options, and errors are one line."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from fedmtl.cli.errors import one_clear_error


def run_script(main: Callable[..., None]) -> None:
    """Run a function as a program, and leave Python with its exit code.

    Its arguments are options, as typer takes them. An error that a user can mend is one line, as of ``fedmtl``, with
    exit code 2; FEDMTL_DEBUG=1 shows where it came from. ``typer.run`` prints every tensor of every call on the way.

    >>> from fedmtl import run_script
    >>> run_script(main)  # doctest: +SKIP
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    @wraps(main)
    def command(**given: Any) -> None:
        with one_clear_error():
            main(**given)

    app()
