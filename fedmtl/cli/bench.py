"""``fedmtl bench``: clients trained in a second."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.core import stopping
from fedmtl.core.terminal import say


def bench(
    workload: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="W1 (a CNN) or W2 (a small MLP); default: both.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Also measure flower or pfl, or both: flower,pfl. They take minutes."),
    ] = None,
    turns: Annotated[int, typer.Option(show_default=False, help="How often each system runs: 3.")] = 3,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of a run, such as 100 for long ones; the first is not timed.")
    ] = None,
    workers: Annotated[int, typer.Option(show_default=False, help="Processes that train: 2.")] = 2,
    compile: Annotated[
        bool, typer.Option("--compile", help="Let fedmtl compile what runs for long, which pays in runs of minutes.")
    ] = False,
    sweep: Annotated[
        bool,
        typer.Option(
            show_default=False, help="Vary W2's population up to 100,000, cohort, model and workers, as is the default."
        ),
    ] = True,
    quick: Annotated[bool, typer.Option("--quick", help="One turn, three rounds, no sweep: a first look.")] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file for all figures.")] = None,
) -> None:
    """Measure how many clients are trained in a second.

    The same clients, model and steps are trained by fedmtl on Ray workers and by a plain PyTorch loop, in turns of
    one process each. The table gives clients a second, how many times as fast fedmtl is, and the memory of all
    processes together. Final trunks or training losses are compared: work that differs ends with exit code 1.
    """

    def progress(line: str) -> None:
        stopping.reached(f"in {line}; lines above are what was measured")
        typer.echo(line, err=True)

    with one_clear_error():
        from dataclasses import replace

        from fedmtl.bench.run import bench as run_bench
        from fedmtl.bench.run import quick as shorten
        from fedmtl.bench.workloads import WORKLOADS
        from fedmtl.core.suggest import did_you_mean

        if turns < 1 or workers < 1:
            raise ValueError(f"turns and workers are at least 1, got --turns {turns} --workers {workers}.")
        names = list(dict.fromkeys(name.upper() for name in workload or WORKLOADS))
        for name in names:
            if name not in WORKLOADS:
                raise ValueError(
                    f"A workload is one of {', '.join(WORKLOADS)}, got {name!r}.{did_you_mean(name, WORKLOADS)}"
                )
        chosen = [shorten(WORKLOADS[name]) if quick else WORKLOADS[name] for name in names]
        same = run_bench(
            [replace(one, rounds=rounds) if rounds else one for one in chosen],
            [word for words in against or [] for word in words.split(",")],
            1 if quick else turns,
            workers,
            compile,
            sweep and not quick,
            out,
            say=partial(say, hanging="  "),
            progress=progress,
        )
    if not same:
        typer.echo("error: some system did other work than the plain loop.", err=True)
        raise typer.Exit(1)
