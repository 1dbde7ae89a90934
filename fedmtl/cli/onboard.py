"""``fedmtl onboard``: new clients and tasks after a run, their scores against labels seen."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, STATE
from fedmtl.core.terminal import columns, say


def onboard(
    folder: Annotated[Path, typer.Argument(hidden=True, metavar="RUN")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="New clients' rows, a .csv or .parquet with the columns of the run's table; default: what the run's "
            "data holds out.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="A column of labels that the run does not have, a new task; may be given often. Its kind is inferred, "
            'or given: "ltv=Regression".',
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            metavar="K,…",
            show_default=False,
            help="Labelled examples of each class, or of a task of numbers, or all; default: 5,20,all.",
        ),
    ] = "5,20,all",
    steps: Annotated[
        int, typer.Option(show_default=False, help="Steps on the heads, and from scratch; default: 200.")
    ] = 200,
    fine_tune: Annotated[
        int, typer.Option(show_default=False, help="Steps on all parameters after those on the heads; default: none.")
    ] = 0,
    known: Annotated[
        bool, typer.Option("--known", help="The clients are the run's own, and begin with their own models.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(show_default=False, help="Seed of the draw of labels; default: the run's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="A CSV for all scores, a row for each client and task."),
    ] = None,
    state: Annotated[Path | None, STATE] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
) -> None:
    """Train heads of new clients on a run's trunk, from few labels.

    RUN is the folder of a finished run. Each new client downloads the trunk, which stays as it is, and sends nothing;
    the table has its scores on its test examples, of its own heads, of all of it trained further (--fine-tune), and of
    a model from its labels alone, with the bytes that it downloads. Of a method with several models, labels choose
    one or mix them first:

    fedmtl onboard runs/sites --data new-sites.csv --labels 5,20,all

    A run whose data is Without(…) has its own new clients, or tasks:

    fedmtl run digits --set "data=Without(Digits(), clients=[3, 8])" --out runs/kept

    fedmtl onboard runs/kept
    """
    with one_clear_error():
        counts = [_count(one.strip()) for one in labels.split(",")]
        if out is not None:
            from fedmtl.core.file_errors import named_errors

            with named_errors(out):
                if not out.resolve().parent.is_dir():
                    raise FileNotFoundError(2, "No such folder", str(out.resolve().parent))
        from fedmtl.core.text_table import markdown_fitted
        from fedmtl.data.table_file import named_table, read_table
        from fedmtl.onboarding.onboard import onboard as onboard_clients
        from fedmtl.registry.components import make

        table = None
        if data is not None:
            with named_table(str(data)):
                table = read_table(str(data), "", _client_column(folder))
        pairs = [one.partition("=")[::2] for one in task or []]
        tasks: dict[str, Any] = {
            name.strip(): make("task", kind.strip()) if kind.strip() else None for name, kind in pairs
        }
        given: dict[str, Any] = {"labels": counts, "tasks": tasks, "known": known, "fine_tune": fine_tune, "seed": seed}
        given |= {"head_steps": steps, "scratch_steps": steps}
        found = onboard_clients(folder, table, **given, allow=allow or (), state=state)
        typer.echo(markdown_fitted(found.table(), columns()).rstrip("\n"))
        if out is not None:
            from fedmtl.core.files import write_atomic
            from fedmtl.export.csv_predictions import csv_of
            from fedmtl.onboarding.outcome import columns_of

            write_atomic(out, csv_of(columns_of(found.scores)).encode())
            say(f"{len(found.scores)} scores: {out}")


def _count(word: str) -> int | str:
    return int(word) if word.isdecimal() else word


def _client_column(folder: Path) -> str:
    """The column of clients of a run's table; empty where its data is none."""
    from fedmtl.core.files import Folder
    from fedmtl.data.recipe import recipe_from_json
    from fedmtl.export.finished import RECIPE

    files = Folder(folder)
    if not files.exists(RECIPE):
        return ""
    return recipe_from_json(files.read(RECIPE).decode(errors="replace"), str(folder / RECIPE)).client
