"""``fedmtl compare``: algorithms × codecs × seeds, in one table."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from fedmtl import stopping
from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, SETTINGS
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
    settings: Annotated[list[str] | None, SETTINGS] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
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
        from dataclasses import replace

        from fedmtl.allowed import beside
        from fedmtl.files import Folder
        from fedmtl.loading import check_elsewhere, override, read_preset
        from fedmtl.report import write_report
        from fedmtl.study import find_runs
        from fedmtl.study.aliases import named_by, write_aliases
        from fedmtl.study.sweep import expand, first_seeds, folder_names, parse_packets, sweep_of

        stopping.hint(f"what is done is kept; go on with the same command: {this_command()}")
        experiments, own, aliases = [], [], {}
        for preset in presets:
            values, path = read_preset(preset)
            sweep = whole = sweep_of(values.pop("compare", {}))
            aliases |= sweep.aliases
            if algorithm:
                sweep = replace(sweep, algorithms=tuple(algorithm))
            if codec:
                sweep = replace(sweep, packets=tuple(parse_packets(text) for text in codec))
            if seeds is not None:
                sweep = replace(sweep, seeds=first_seeds(seeds))
            target = sweep.target if target is None else target
            allowed = beside(path, allow or [])
            check_elsewhere(values, settings or [], str(path))
            changed = override(values, settings or [], allowed)
            experiments += expand(changed, sweep, str(path), allowed)
            if sweep.aliases and sweep != whole:
                own += expand(changed, whole, str(path), allowed)
        names = folder_names(experiments)
        named = named_by(aliases, *([(each.label, each.to_dict()) for each in some] for some in (experiments, own)))
        for name in names:
            Folder(out).names(f"runs/{name}")  # refuses a link, which would lead out of the folder
        write_aliases(out, names, named)
        for count, (experiment, name) in enumerate(zip(experiments, names, strict=True), 1):
            which = f"in run {count} of {len(experiments)}, {name}, "
            run_one(experiment, f"[{count}/{len(experiments)}] {name}", out / "runs" / name, True, which)
        write_report(find_runs([out / "runs" / name for name in names]), out, target)
        typer.echo((out / "report.md").read_text(encoding="utf-8"))
        typer.echo(f"table and pictures: {out}")
