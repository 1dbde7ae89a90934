"""``fedmtl run``: one experiment."""

import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fedmtl.cli.baseline import FOLDER, floor_of
from fedmtl.cli.clients import say_clients
from fedmtl.cli.confusion import say_confusion
from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import (
    ALLOW,
    CALLBACK,
    CLIENT,
    DATA,
    DOWN_CODEC,
    ENGINE,
    FEATURES,
    RUNTIME,
    SETTINGS,
    TASK,
    TEXT,
    UP_CODEC,
    with_places,
)
from fedmtl.cli.outcome import line, say_floor, say_folder, say_outcome
from fedmtl.cli.picture import check_picture, draw_runs
from fedmtl.cli.progress import run_one
from fedmtl.cli.table import sized, table_values
from fedmtl.core import stopping
from fedmtl.core.gc_paused import gc_paused
from fedmtl.core.terminal import say


def this_command(*more: str) -> str:
    """The command line of this process, to be copied into a shell, with arguments that it lacks."""
    given = sys.argv[1:]
    return shlex.join(["fedmtl", *given, *(argument for argument in more if argument not in given)])


DEFAULT = "demo"
"""The preset of ``fedmtl run`` without arguments."""


def run(
    preset: Annotated[str | None, typer.Argument(hidden=True)] = None,
    data: Annotated[Path | None, DATA] = None,
    client: Annotated[str | None, CLIENT] = None,
    task: Annotated[list[str] | None, TASK] = None,
    features: Annotated[str | None, FEATURES] = None,
    text: Annotated[str | None, TEXT] = None,
    engine: Annotated[str | None, ENGINE] = None,
    runtime: Annotated[str | None, RUNTIME] = None,
    up_codec: Annotated[str | None, UP_CODEC] = None,
    down_codec: Annotated[str | None, DOWN_CODEC] = None,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
    callback: Annotated[list[str] | None, CALLBACK] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for rows, ledger, checkpoint and summary.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last finished round; the result is bit-identical.")
    ] = False,
    restart_clients: Annotated[
        bool, typer.Option("--restart-clients", help="Let clients whose private state is lost begin anew.")
    ] = False,
    baseline: Annotated[
        bool | None,
        typer.Option(
            "--baseline/--no-baseline",
            show_default=False,
            help="Run Local too, the floor: each client alone; in OUT/baseline. With --data it is run by default.",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Draw each task's score against the bytes of training: a .png, .pdf or .svg.",
        ),
    ] = None,
) -> None:
    """Run one experiment, and print what it reached and what it sent.

    PRESET is a TOML file, or the name of a preset (see: fedmtl list presets). Without one, a small demo runs, with its
    Local floor; with --data, a table of yours is run by the defaults, or by PRESET:

    fedmtl run --data sites.csv --client site --task churn --task ltv --out runs/sites

    A run folder (--out) holds experiment.toml, environment.json, rounds.columns (a row for each round, client and
    task), ledger.columns (a row for each packet), summary.json, model.safetensors and checkpoint/; see fedmtl export.
    A run that was killed goes on with the same command and --resume.
    """
    with one_clear_error():
        from fedmtl.registry.components import make_list
        from fedmtl.runs.blame import blaming
        from fedmtl.runs.presets import own_values, read_values, runtime_of
        from fedmtl.runs.run_options import run_options

        settings = with_places(settings, engine, runtime, up_codec, down_codec)
        usual = preset is None or data is not None  # a floor beside it
        if preset is None and data is None:
            preset = DEFAULT
        options = run_options(preset)
        if picture is None and options.picture:
            picture = (out or Path()) / options.picture
        if picture is not None:
            check_picture(picture, "scores.png", out)
        if resume and out is None:
            raise ValueError("--resume needs the folder to go on in: add --out DIR.")
        stopping.reached("before a round was done")
        if out is None:
            stopping.hint("nothing is kept: give a folder, --out DIR, and a run that is stopped goes on with --resume")
        else:
            stopping.hint(f"go on with: {this_command('--resume')}")
        if out is not None:
            from fedmtl.runs.run_folder import check_folder
            from fedmtl.runs.run_lock import refuse_if_held

            check_folder(out.resolve())
            refuse_if_held(out.resolve())
        own = table_values(data, client, task or [], features, text, preset is not None, out if resume else None)
        values, path, allowed = read_values(preset, settings, allow or [], (str(data), own))
        callbacks = make_list("callback", callback or [], allowed)
        runtime_of(values, allowed).prepare()
        with gc_paused():
            from fedmtl.run_experiment import load_checked
            from fedmtl.runs.experiment import Experiment, from_dict

        read = partial(own_values, preset, own)

        def made(values: Mapping[str, Any]) -> Experiment:
            return from_dict(sized(values), path, allowed)

        with blaming(read, path, settings, allowed, made):
            experiment = made(values)
        local = floor_of(experiment, baseline, usual or options.baseline)
        with blaming(read, path, settings, allowed, lambda values: load_checked(made(values))):
            label = f"{experiment.name}: {experiment.label}"
            result = run_one(experiment, label, out, resume, restart=restart_clients, callbacks=callbacks)
        say_outcome(result.summary)
        drawn, floor = [(experiment, result)], None
        if local is not None:
            say("")
            beside = None if out is None else out / FOLDER
            floor = run_one(local, f"baseline: {local.algorithm!r}", beside, resume, "in the baseline ")
            say_outcome(floor.summary)
            say("")
            say_floor(result.summary, floor.summary)
            drawn.append((local, floor))
        say_clients(result, floor, data is not None)
        if data is not None:
            say_confusion(result)
        if picture is not None:
            draw_runs(drawn, picture)
            line("picture", str(picture))
        if out is not None:
            say_folder(out, data is not None)
