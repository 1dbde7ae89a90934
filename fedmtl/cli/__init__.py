"""The command line, a file for each command."""

import sys
from typing import Annotated

import typer

from fedmtl.cli import (
    bench,
    compare,
    data,
    export,
    listing,
    log,
    onboard,
    predict,
    report,
    run,
    shrink,
    sweep,
    tune,
    verify,
    watch,
)
from fedmtl.cli.usage import Commands
from fedmtl.cli.version import print_versions
from fedmtl.core import stopping
from fedmtl.core.terminal import columns, wrapped

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Federated multi-task learning: clients own tasks, share a trunk, keep their heads; every byte is counted.

    A preset (a TOML file) says what to learn, from what data, with which algorithm and over which codecs. Start with

    \b
        fedmtl run digits --out runs/first
        fedmtl report runs/first""",
)


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=print_versions, help="Print versions, also of what is used."),
    ] = False,
) -> None:
    pass


app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("list")(listing.list_known)
app.add_typer(data.data, name="data")
app.command("tune")(tune.tune)
app.command("sweep")(sweep.sweep)
app.command("watch")(watch.watch)
app.command("log")(log.log)
app.command("export")(export.export)
app.command("predict")(predict.predict)
app.command("onboard")(onboard.onboard)
app.command("verify")(verify.verify)
app.command("shrink")(shrink.shrink)
app.command("bench")(bench.bench)


def main() -> None:
    """Entry point of ``fedmtl`` and of ``python -m fedmtl``."""
    try:
        stopping.install(lambda line: wrapped(line, columns(sys.stderr), "  "))
        app()
    except stopping.Stopped:
        stopping.leave()
    except SystemExit as end:
        if stopping.stopping():
            stopping.leave()
        if "fedmtl.runtime.ray.cluster" in sys.modules:
            from fedmtl.runtime.ray.background import exit_fast

            exit_fast(end.code)
        raise
