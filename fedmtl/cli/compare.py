"""``fedmtl compare``: algorithms × codecs × seeds, in one table."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from fedmtl import stopping
from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, CALLBACK, SETTINGS
from fedmtl.cli.progress import run_one
from fedmtl.cli.run import this_command


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Inside, no other process compares into the folder."""
    from fedmtl.run_lock import hold

    with hold(out.resolve()):
        yield


def compare(
    presets: Annotated[list[str], typer.Argument(hidden=True)],
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
            help="Tune every algorithm and codec alike first, with so many trials on validation parts, on a seed that "
            "is reported nowhere; see: fedmtl tune.",
        ),
    ] = None,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
    callback: Annotated[list[str] | None, CALLBACK] = None,
    out: Annotated[
        Path, typer.Option(show_default=False, help="Folder for the runs, the table and the pictures: runs/compare.")
    ] = Path("runs/compare"),
) -> None:
    """Run algorithms × codecs × seeds, and print one table.

    PRESETS are TOML files or names of presets; a [compare] table in them says what varies. The table gives the
    metric of each task, the bytes of training and evaluation, and the bytes that it took to reach a target.

    Runs that are finished in the folder are not run again, and one that was interrupted goes on.
    """
    with one_clear_error(), _held(out):
        from fedmtl.allowed import Allowed
        from fedmtl.cli.sweep import Varied, expand_preset
        from fedmtl.components import make_list
        from fedmtl.files import Folder
        from fedmtl.report import write_report
        from fedmtl.study import find_runs, read_run
        from fedmtl.study.aliases import named_by, read_aliases, write_aliases
        from fedmtl.study.axis import write_axis
        from fedmtl.study.sweep import folder_names
        from fedmtl.study.words import sentences

        stopping.hint(f"what is done is kept; go on with the same command: {this_command()}")
        experiments, own, aliases, along, expanded = [], [], {}, None, []
        callbacks = make_list("callback", callback or [], Allowed(modules=tuple(allow or ())))
        varied = Varied(tuple(algorithm or ()), tuple(codec or ()), seeds, axis)
        for preset in presets:
            found = expand_preset(preset, varied, settings or [], allow or [])
            expanded.append(found)
            experiments += found.experiments
            own += found.own
            aliases |= found.sweep.aliases
            along = along or found.sweep.axis
            target = found.sweep.target if target is None else target
        choices = ""
        if tune is not None:
            from fedmtl.cli.tune import tune_comparison

            experiments, choices = tune_comparison(expanded, tune, out)
        names = folder_names(experiments, along)
        named = named_by(aliases, *([(each.label, each.to_dict()) for each in some] for some in (experiments, own)))
        for name in names:
            Folder(out).names(f"runs/{name}")  # refuses a link, which would lead out of the folder
        write_aliases(out, names, named)
        write_axis(out, along)
        for count, (experiment, name) in enumerate(zip(experiments, names, strict=True), 1):
            which = f"in run {count} of {len(experiments)}, {name}, "
            label = f"[{count}/{len(experiments)}] {name}"
            run_one(experiment, label, out / "runs" / name, True, which, callbacks=callbacks)
        folders = find_runs([out / "runs" / name for name in names])
        runs = [read_run(folder) for folder in folders]
        write_report(runs, out, target)
        if choices:
            typer.echo(choices)
        typer.echo((out / "report.md").read_text(encoding="utf-8"))
        for sentence in sentences(runs, along, read_aliases(folders)):
            typer.echo(f"{sentence}\n")
        typer.echo(f"table and pictures: {out}")
