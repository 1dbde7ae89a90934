"""The interface of callbacks: a run that starts, the rows of its tables, its end."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from fedmtl.tables.schemas import Row

W = TypeVar("W")


class RunInfo(NamedTuple):
    """The run whose rows a callback is about to get."""

    id: str
    """32 hexadecimal digits; a resumed run keeps them, and so does a run that is logged again."""
    name: str
    """The name of its folder, or of its experiment where there is no folder."""
    label: str
    """Algorithm and codecs, as in tables."""
    experiment: Mapping[str, Any]
    """Content of ``experiment.toml``."""
    folder: Path | None
    """The run's; None of a run in memory."""


class Callback(Protocol[W]):
    """Settings; what a run needs besides is in the writer that ``start`` returns, so one object serves many runs.

    After ``start`` come all rows of the run, in the order of its rounds: those of a run that is resumed, or logged
    after the fact, from its first row on. A callback therefore replaces what it wrote of a run with the same ``id``, or
    skips what is there already. It changes no result: one that raises is named once and switched off, and the run
    goes on.

    A callback of one's own that prints each task's curve::

        class Print:
            def start(self, run):
                return run.name

            def rows(self, writer, table, rows):
                for row in rows:
                    if table == "rounds" and row["client"] is None:
                        print(writer, row["round"], row["task"], row["value"])

            def end(self, writer, summary):
                print(writer, "ended" if summary else "stopped")
    """

    def start(self, run: RunInfo) -> W:
        """Return the writer of a run.

        Raises:
            MissingPackage: the run does not begin.
        """
        ...

    def rows(self, writer: W, table: str, rows: Sequence[Row]) -> None:
        """Take what one exchange between server and clients brought to a table of the run.

        Args:
            writer: of the run.
            table: "rounds" (a row for each client and task, and one over all clients, of one round's model),
                "measures" and "confusion" (metrics beside the primary one, and counts), "training" (clients' training
                losses), or "ledger" (a row for each packet).
            rows: dicts with the fields of the table, never none.
        """
        ...

    def end(self, writer: W, summary: Mapping[str, Any] | None) -> None:
        """Close the writer. ``summary`` is the content of ``summary.json``; None where the run stopped before."""
        ...


class MissingPackage(ImportError):
    """A callback's package is not installed."""


def package(module: str, callback: str, extra: str) -> Any:
    """Import a module of an optional package.

    Raises:
        MissingPackage: it names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(
            f"callback {callback} needs a package that is not installed ({error}): pip install 'fedmtl[{extra}]', or "
            f"in a checkout pip install -c constraints.txt -e '.[{extra}]'."
        ) from error
