"""Errors as one line on standard error, and exit codes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from fedmtl.core import stopping
from fedmtl.core.bounds import one_line
from fedmtl.core.file_errors import way_out
from fedmtl.core.terminal import columns, wrapped


@contextmanager
def one_clear_error() -> Iterator[None]:
    """Print an error that a user can mend as one line on standard error, wrapped on a terminal.

    FEDMTL_DEBUG=1 shows where it came from.
    """
    try:
        yield
    except stopping.Stopped:
        stopping.leave()
    except BrokenPipeError:  # `| head` has what it wants; Python must not flush once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if stopping.stopping():  # it follows from the signal
            stopping.leave()
        if os.environ.get("FEDMTL_DEBUG"):
            raise
        typer.echo(wrapped(f"error: {one_line(in_words(error), MOST_SHOWN)}", columns(sys.stderr)), err=True)
        raise typer.Exit(2) from None


MOST_SHOWN = 2000
"""Characters of an error."""


def in_words(error: Exception) -> str:
    """The message, without the number that the operating system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}{way_out(error)}" if error.filename else error.strerror
    return str(error)
