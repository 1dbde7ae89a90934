"""``fedmtl compare``: algorithms × codecs × seeds, in one table."""

import sys
from collections.abc import Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedmtl.cli.comparison import comparison_text, print_not_counted
from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import (
    ALLOW,
    CALLBACK,
    CLIENT,
    DATA,
    ENGINE,
    FEATURES,
    RUNTIME,
    SETTINGS,
    TASK,
    TEXT,
    with_places,
)
from fedmtl.cli.run import this_command
from fedmtl.cli.table import checked, table_values
from fedmtl.core import stopping
from fedmtl.core.terminal import columns, say, wrapped
from fedmtl.core.text_table import markdown_fitted

if TYPE_CHECKING:
    from fedmtl.runs.sweep_presets import Own
    from fedmtl.studies import Pool

USUAL = ("Local", "FedAvg", "FedPer")
"""Algorithms that are compared on a table without a preset: each alone, one model for all, private heads."""


def compare(
    presets: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    data: Annotated[Path | None, DATA] = None,
    client: Annotated[str | None, CLIENT] = None,
    task: Annotated[list[str] | None, TASK] = None,
    features: Annotated[str | None, FEATURES] = None,
    text: Annotated[str | None, TEXT] = None,
    algorithm: Annotated[
        list[str] | None,
        typer.Option(help="An algorithm to compare, such as FedRep or 'FedPer(lr=0.05)'; may be given often."),
    ] = None,
    codec: Annotated[
        list[str] | None,
        typer.Option(
            metavar="UP[/DOWN]", help="Codecs to compare, such as Dense or 'ErrorFeedback(codec=TopK(keep=0.05))/Int8'."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds, from 0.")] = None,
    target: Annotated[
        float | None, typer.Option(help="Mean score to reach; the table gives the bytes it took.")
    ] = None,
    axis: Annotated[
        str,
        typer.Option(
            metavar="FIELD=[…]",
            show_default=False,
            help="A field along which to compare, such as data.alpha=[0.1,1,10].",
        ),
    ] = "",
    tune: Annotated[
        int | None,
        typer.Option(
            metavar="TRIALS",
            help="Tune every algorithm and codec alike first, with this number of trials on validation parts, on a "
            "seed that is reported nowhere; see: fedmtl tune.",
        ),
    ] = None,
    engine: Annotated[str | None, ENGINE] = None,
    runtime: Annotated[str | None, RUNTIME] = None,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
    callback: Annotated[list[str] | None, CALLBACK] = None,
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N",
            show_default=False,
            help="Runs at a time, and tunings of methods, each in a process of its own; default: 1. 0 is one for "
            "each core.",
        ),
    ] = 1,
    out: Annotated[
        Path, typer.Option(show_default=False, help="Folder for the runs, the table and the pictures: runs/compare.")
    ] = Path("runs/compare"),
) -> None:
    """Run algorithms × codecs × seeds, and print one table.

    PRESETS are TOML files or names of presets; a [compare] table in them says what varies. The table gives the
    metric of each task, the bytes of training and evaluation, and the bytes that it took to reach a target. With
    --data, a table of yours takes the place of their data, and without a preset Local, FedAvg and FedPer are compared:

    fedmtl compare --data sites.csv --client site --task churn --seeds 5 --out study

    Runs that are finished in the folder are not run again, and one that was interrupted goes on. A run that fails,
    diverges or is killed is a row that says so, and in no mean or picture; the others go on, and the exit code is 1.
    With --jobs, what a run prints goes to log.txt in its folder.
    """
    with one_clear_error():
        from fedmtl.runs.run_lock import refuse_if_held
        from fedmtl.runs.sweep_presets import Own
        from fedmtl.studies import Pool, cores

        presets = presets or []
        if not presets and data is None:
            raise ValueError("compare needs a preset, or a table: add a name of fedmtl list presets, or --data FILE.")
        own = table_values(data, client, task or [], features, text, bool(presets), None)
        if data is not None and not presets:
            own["compare"] = {"algorithms": list(USUAL)}

        refuse_if_held(out.resolve())
        if jobs < 0:
            raise ValueError(f"--jobs is the number of runs at a time, or 0 for one for each core, got {jobs}.")
        count = jobs or cores()
        with nullcontext() if count == 1 else Pool(count) as pool:  # its processes import while this one does
            options = {"algorithms": tuple(algorithm or ()), "codecs": tuple(codec or ()), "seeds": seeds, "axis": axis}
            settings = with_places(settings, engine, runtime)
            given = Own(str(data), own, checked)
            failures = _compare(presets, given, options, target, settings, allow, callback, tune, count, pool, out)
    if failures:
        raise typer.Exit(1)


def _compare(
    presets: list[str],
    own: "Own",
    options: dict[str, Any],
    target: float | None,
    settings: list[str],
    allow: list[str] | None,
    callback: list[str] | None,
    tune: int | None,
    jobs: int,
    pool: "Pool | None",
    out: Path,
) -> bool:
    """Run all, and print the report; whether some run does not count."""
    from dataclasses import replace

    from fedmtl.analysis.words import sentences
    from fedmtl.cli.watching import ComparisonWatch
    from fedmtl.registry.allowed import Allowed
    from fedmtl.registry.components import make_list
    from fedmtl.runs.aliases import read_aliases
    from fedmtl.runs.run_lock import hold
    from fedmtl.runs.sweep_presets import Varied, expand_presets
    from fedmtl.runtime.flower.component import refuse_deployed
    from fedmtl.studies.comparison import compare_experiments, tasks_of

    stopping.hint(f"what is done is kept; go on with the same command: {this_command()}")
    callbacks = make_list("callback", callback or [], Allowed(modules=tuple(allow or ())))
    wanted = expand_presets(presets, Varied(**options), settings, allow or [], own)
    experiments, choices = wanted.experiments, ""
    for each in experiments:
        refuse_deployed(each.runtime)
    if tune is not None:
        from fedmtl.cli.tune import tune_comparison

        with hold(out.resolve()):
            experiments, choices = tune_comparison(wanted.expanded, tune, out, pool)
    named = wanted.aliases(experiments)
    experiments = [replace(each, callbacks=(*each.callbacks, *callbacks)) for each in experiments]
    target = wanted.target if target is None else target
    watch = ComparisonWatch(tasks_of(experiments, out, wanted.axis), jobs)
    with closing(watch):
        found = compare_experiments(
            experiments, out, target=target, aliases=named, axis=wanted.axis, on_event=watch, pool=pool
        )
    width = columns()
    if choices:
        typer.echo(markdown_fitted(choices, width))
    if width is None:
        typer.echo((out / "report.md").read_text(encoding="utf-8"))
    else:
        typer.echo(f"\n{comparison_text(found.groups, target, width)}\n")
    for sentence in sentences(found.runs, wanted.axis, read_aliases(run.folder for run in found.runs)):
        say(f"{sentence}\n")
    say(f"table and pictures: {out}")
    print_not_counted(found.failures)
    if found.failures:
        way = _way_on(failure.state for failure in found.failures.values())
        typer.echo(wrapped(way, columns(sys.stderr), "  "), err=True)
    return bool(found.failures)


def _way_on(states: Iterable[str]) -> str:
    """The line that says what to do about runs that do not count."""
    if all(state == "diverged" for state in states):
        return "what diverged would do so again: lower its learning rate, and compare into another folder (--out)"
    return f"go on with the same command: {this_command()}"
