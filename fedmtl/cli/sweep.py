"""``fedmtl sweep``: all combinations of some fields' values, and their Pareto fronts."""

from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from fedmtl.cli.comparison import print_not_counted
from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, ENGINE, RUNTIME, SETTINGS, with_places
from fedmtl.cli.run import this_command
from fedmtl.core import stopping
from fedmtl.core.terminal import columns, say
from fedmtl.core.text_table import markdown_fitted


def sweep(
    presets: Annotated[list[str], typer.Argument(hidden=True)],
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=[…]", help="A field and its values, such as algorithm.lr=[0.01,0.1]; may be given often."
        ),
    ] = None,
    algorithm: Annotated[
        list[str] | None, typer.Option(help="An algorithm, such as FedRep or 'FedPer(lr=0.05)'; may be given often.")
    ] = None,
    codec: Annotated[
        list[str] | None, typer.Option(metavar="UP[/DOWN]", help="Codecs, such as Dense or Int8/FP16; likewise.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds, from 0.")] = None,
    target: Annotated[float | None, typer.Option(help="Mean score to reach; tables say how many seeds did.")] = None,
    engine: Annotated[str | None, ENGINE] = None,
    runtime: Annotated[str | None, RUNTIME] = None,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
    jobs: Annotated[
        int,
        typer.Option(metavar="N", show_default=False, help="Runs at a time; default: 1. 0 is one for each core."),
    ] = 1,
    out: Annotated[
        Path, typer.Option(show_default=False, help="Folder for the runs, tables and pictures: runs/sweep.")
    ] = Path("runs/sweep"),
) -> None:
    """Run all combinations of values, and print their fronts.

    PRESETS are TOML files or names of presets. Each --over names a field and its values; all combinations are run, with
    each algorithm, codec and seed. Without one, presets run as they are, such as a front that fedmtl tune has found.
    Beside the report of a comparison stand fronts.md, .csv and .tex: score against bytes, simulated seconds and joules,
    with 95 % intervals, the seeds that count and those that reached the target.

    Runs that are finished in the folder are not run again, and one that was interrupted goes on. A run that fails or
    diverges is in no mean, and the exit code is 1.
    """
    with one_clear_error():
        from fedmtl.cli.watching import ComparisonWatch
        from fedmtl.runs.axis import parse_axis
        from fedmtl.runs.run_lock import refuse_if_held
        from fedmtl.runs.sweep_presets import Varied
        from fedmtl.studies import Pool, cores
        from fedmtl.studies.comparison import tasks_of
        from fedmtl.studies.sweeping import sweep_experiments, swept

        refuse_if_held(out.resolve())
        if jobs < 0:
            raise ValueError(f"--jobs is the number of runs at a time, or 0 for one for each core, got {jobs}.")
        fields = [parse_axis(text, "--over") for text in over or []]
        if twice := [one.field for k, one in enumerate(fields) if one.field in [other.field for other in fields[:k]]]:
            raise ValueError(f"--over names {twice[0]} twice; give all of its values at once.")
        varied = Varied(tuple(algorithm or ()), tuple(codec or ()), seeds)
        values = {one.field: one.values for one in fields}
        stopping.hint(f"what is done is kept; go on with the same command: {this_command()}")
        experiments, own = swept(presets, values, varied, with_places(settings, engine, runtime), allow or [])
        target = own if target is None else target
        count = jobs or cores()
        with (
            nullcontext() if count == 1 else Pool(count) as pool,
            closing(ComparisonWatch(tasks_of(experiments, out), count)) as watch,
        ):
            found = sweep_experiments(experiments, out, target=target, on_event=watch, pool=pool)
        page = out / "fronts.md"
        if page.is_file():
            typer.echo(markdown_fitted(page.read_text(encoding="utf-8"), columns()))
        say(f"tables and pictures: {out}")
    print_not_counted(found.failures)
    if found.failures:
        raise typer.Exit(1)
