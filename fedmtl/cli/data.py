"""``fedmtl data``: data sets with their sources: a list, one in detail with its label skew, and the download."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.core.terminal import say

data = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="List data sets, describe one, or fetch its files.",
)

JSON = typer.Option("--json", help="For programs.")


@data.command("list")
def list_sets(as_json: Annotated[bool, JSON] = False) -> None:
    """List data sets: clients, tasks, examples, licence, and which are there.

    Files are looked for in the data home, the folder that FEDMTL_DATA names, else data in fedmtl's cache folder.
    """
    with one_clear_error():
        from fedmtl.cli.data_words import home_line, set_table, sources
        from fedmtl.core.terminal import columns

        found = sources()
        if as_json:
            from fedmtl.cli.data_words import source_record

            typer.echo(json.dumps([source_record(source) for source in found], indent=2, ensure_ascii=False))
            return
        typer.echo(set_table(found, columns()))
        say(home_line())


@data.command("describe")
def describe(
    name: Annotated[str, typer.Argument(hidden=True, metavar="NAME")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A field of the data set, such as clients=50; often."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed that divides it.")] = 0,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the labels of each client: a .png, .pdf or .svg.", show_default=False),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show a data set: source, licence, clients' sizes, label skew.

    NAME is a data set of `fedmtl data list`, or a call such as "digits(clients=50, alpha=0.1)".
    """
    with one_clear_error():
        from fedmtl.cli.data_words import client_table, federation_record, made, skew_lines, source_lines
        from fedmtl.cli.picture import check_picture
        from fedmtl.core.terminal import columns
        from fedmtl.data.skew import label_skew

        if picture is not None:
            check_picture(picture, "labels.png")
        dataset = made(name, settings or [])
        federation = dataset.load(seed)
        skews = label_skew(federation)
        if as_json:
            typer.echo(json.dumps(federation_record(dataset, federation, skews), indent=2, ensure_ascii=False))
        else:
            for line in source_lines(dataset):
                say(line, "           ")
            say("")
            typer.echo(client_table(federation, skews, columns()))
            say("")
            for line in skew_lines(skews):
                say(line, "  ")
        if picture is not None:
            from fedmtl.analysis.report.label_skew import label_picture
            from fedmtl.analysis.report.style import write_figure

            figure = label_picture(type(dataset).__name__, federation, skews).figure
            write_figure(figure, picture.resolve())
            if not as_json:
                say(str(picture))


@data.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(hidden=True, metavar="NAME")],
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="A folder, or an address, that has the files as a data home has them; default: the authors' address.",
            show_default=False,
        ),
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds without a byte after which it is given up.")] = 30.0,
) -> None:
    """Get the files of a data set into the data home.

    NAME is a data set of `fedmtl data list`. Each file has the right checksum, or is not written. A file that is
    re-packed from its original has no address: the message says how to place it by hand.
    """
    with one_clear_error():
        from fedmtl.cli.data_words import fetched_lines

        if not timeout > 0:
            raise ValueError(f"--timeout is a positive number of seconds, got {timeout:g}; use 30.")
        for line in fetched_lines(name, origin, timeout):
            say(line, "  ")
