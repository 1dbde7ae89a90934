"""The command line: run, compare, report, export, list, verify, shrink, bench."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedmtl import stopping
from fedmtl.imports import uncollected

if TYPE_CHECKING:  # torch is imported by the commands that need it, so that help and errors come at once
    from fedmtl.experiment import Experiment
    from fedmtl.results import Progress, Result

app = typer.Typer(
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

SETTINGS = typer.Option(
    "--set",
    metavar="KEY=VALUE",
    help="Change a key of the preset; may be given often. A dot goes into a component: --set rounds=5 "
    "--set algorithm=FedRep --set algorithm.lr=0.05 --set runtime=local --set workers=3",
)


ALLOW = typer.Option(
    "--allow",
    metavar="MODULE",
    help="A module, or a .py file, that components may come from; may be given often. A preset may name modules that "
    "lie beside it; without this flag, nothing else is imported.",
)


class Kind(StrEnum):
    """What ``fedmtl list`` can list."""

    algorithms = "algorithms"
    weightings = "weightings"
    optimizers = "optimizers"
    codecs = "codecs"
    tasks = "tasks"
    data = "data"
    models = "models"
    presets = "presets"


# Arguments are described in the commands' docstrings: Typer 0.20, which Flower 1.41 asks for, loses their help with
# Click 8.5, and prints a backslash before every "[required]" and "[default: …]" when rich formats nothing.


@contextmanager
def one_clear_error() -> Iterator[None]:
    """What a user can mend is one line on standard error; FEDMTL_DEBUG=1 shows where it came from."""
    try:
        yield
    except stopping.Stopped:
        stopping.leave()
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if stopping.stopping():  # it follows from the signal
            stopping.leave()
        if os.environ.get("FEDMTL_DEBUG"):
            raise
        typer.echo(f"error: {one_line(in_words(error))}", err=True)
        raise typer.Exit(2) from None


MOST_SHOWN = 2000
"""Characters of an error."""


def one_line(text: str) -> str:
    """A text from who knows where, for a terminal: one line, cut where it is long, control characters escaped."""
    line = " ".join(text.split())
    line = line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN // 2]} … {line[-MOST_SHOWN // 2 :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Inside, no other process compares into the folder."""
    from fedmtl.run_lock import hold

    with hold(out.resolve()):
        yield


def in_words(error: Exception) -> str:
    """The message, without the number that the operating system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def watch(label: str, rounds: int) -> tuple[Callable[["Progress"], None], Callable[[], None]]:
    """What shows a run's progress, and what ends it: a bar on a terminal, plain lines elsewhere."""
    typer.echo(label)
    if not sys.stdout.isatty():
        return lambda progress: typer.echo(f"  {describe(progress)}"), lambda: None
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    # Narrow, or on 80 columns rich leaves out the bar and the count.
    columns = BarColumn(10), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[state]}")
    bar = Bar(*columns)
    task = bar.add_task(label, total=rounds, state="starting")
    bar.start()

    def show(progress: "Progress") -> None:
        bar.update(task, completed=min(progress.round, rounds), state=describe(progress, short=True))

    return show, bar.stop


def describe(progress: "Progress", short: bool = False) -> str:
    """Round, accuracy and bytes. The score is that of the model before this round, which this round measured."""
    from fedmtl.study.table import human_bytes

    up, down = human_bytes(progress.bytes_up), human_bytes(progress.bytes_down)
    left_out = len(progress.problems)
    if short:
        return f"score {progress.mean_score:.4f}  up {up}  down {down}" + (f"  {left_out} left out" if left_out else "")
    text = f"mean score {progress.mean_score:.4f}  up {up}  down {down}"
    if left_out:
        text += f"  clients left out: {left_out}"
    last = progress.round > progress.rounds
    where = "last model" if last else f"round {progress.round}/{progress.rounds}"
    return f"{where}  {text}"


def run_one(
    experiment: "Experiment", label: str, out: Path | None, resume: bool, which: str = "", restart: bool = False
) -> "Result":
    """Run with progress shown; ``which`` says what is stopped by a signal, where there are several."""
    from fedmtl.running import run as run_experiment

    show, stop = watch(label, experiment.rounds)

    def on_round(progress: "Progress") -> None:
        stopping.reached(f"{which}after round {progress.round}" if progress.round <= progress.rounds else "at the end")
        show(progress)

    stopping.reached(f"{which}before a round was done")
    try:
        return run_experiment(experiment, out, resume=resume, restart_clients=restart, on_round=on_round)
    finally:
        stop()


def this_command(*more: str) -> str:
    """The command line of this process, to be copied into a shell, with arguments that it lacks."""
    given = sys.argv[1:]
    return shlex.join(["fedmtl", *given, *(argument for argument in more if argument not in given)])


@app.command()
def run(
    preset: Annotated[str, typer.Argument(hidden=True)],
    settings: Annotated[list[str] | None, SETTINGS] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for rows, ledger, checkpoint and summary.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last finished round, to the same bits.")
    ] = False,
    restart_clients: Annotated[
        bool, typer.Option("--restart-clients", help="Let clients whose private state is lost begin anew.")
    ] = False,
) -> None:
    """Run one experiment, and print what it reached and what it sent.

    PRESET is a TOML file, or the name of a preset (see: fedmtl list presets).

    A run folder (--out) holds experiment.toml, environment.json, rounds.columns (a row for each round, client and
    task), ledger.columns (a row for each packet), summary.json, model.safetensors and checkpoint/; see fedmtl export.
    A run that was killed goes on with the same command and --resume.
    """
    with one_clear_error():
        from fedmtl.loading import read_values, starts_ray

        if resume and out is None:
            raise ValueError("--resume needs the folder to go on in: add --out DIR.")
        stopping.reached("before a round was done")
        if out is None:
            stopping.hint("nothing is kept: give a folder, --out DIR, and a run that is stopped goes on with --resume")
        else:
            stopping.hint(f"go on with: {this_command('--resume')}")
        if out is not None:
            from fedmtl.run_folder import check_folder
            from fedmtl.run_lock import refuse_if_held

            check_folder(out.resolve())
            refuse_if_held(out.resolve())
        values, path, allowed = read_values(preset, settings or [], allow or [])
        if starts_ray(values):
            from fedmtl.runtime.ray_workers import begin

            begin()  # Ray's processes start while this one imports torch
        with uncollected():
            import fedmtl.running  # noqa: F401
            from fedmtl.experiment import from_dict
        from fedmtl.study.table import human_bytes

        experiment = from_dict(values, path, allowed)
        result = run_one(experiment, f"{experiment.name}: {experiment.label}", out, resume, restart=restart_clients)
        summary = result.summary
        for task, row in summary["tasks"].items():
            typer.echo(
                f"{task:>12}  {row['metric']} {number(row['value'])}  client mean {number(row['client_mean'])}  "
                f"worst tenth {number(row['worst_tenth'])}  "
                f"({'higher' if row['higher_is_better'] else 'lower'} is better)"
            )
        sent = summary["bytes"]["train"]
        typer.echo(f"{'mean score':>12}  {number(summary['mean_score'])}")
        typer.echo(
            f"{'training':>12}  up {human_bytes(sent['up'])}  down {human_bytes(sent['down'])}  "
            f"total {human_bytes(sent['total'])}; evaluation {human_bytes(summary['bytes']['evaluate']['total'])}"
        )
        if out is not None:
            typer.echo(f"{'folder':>12}  {out}  (pictures and a table: fedmtl report {out})")


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


@app.command()
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
        from fedmtl.study.sweep import expand, first_seeds, folder_names, parse_packets, sweep_of

        stopping.hint(f"what is done is kept; go on with the same command: {this_command()}")
        experiments = []
        for preset in presets:
            values, path = read_preset(preset)
            sweep = sweep_of(values.pop("compare", {}))
            if algorithm:
                sweep = replace(sweep, algorithms=tuple(algorithm))
            if codec:
                sweep = replace(sweep, packets=tuple(parse_packets(text) for text in codec))
            if seeds is not None:
                sweep = replace(sweep, seeds=first_seeds(seeds))
            target = sweep.target if target is None else target
            allowed = beside(path, allow or [])
            check_elsewhere(values, settings or [], str(path))
            experiments += expand(override(values, settings or [], allowed), sweep, str(path), allowed)
        names = folder_names(experiments)
        for name in names:
            Folder(out).names(f"runs/{name}")  # refuses a link, which would lead out of the folder
        for count, (experiment, name) in enumerate(zip(experiments, names, strict=True), 1):
            which = f"in run {count} of {len(experiments)}, {name}, "
            run_one(experiment, f"[{count}/{len(experiments)}] {name}", out / "runs" / name, True, which)
        write_report(find_runs([out / "runs" / name for name in names]), out, target)
        typer.echo((out / "report.md").read_text(encoding="utf-8"))
        typer.echo(f"table and pictures: {out}")


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(hidden=True)],
    out: Annotated[Path | None, typer.Option(help="Where to; default: the first folder.")] = None,
    target: Annotated[
        float | None, typer.Option(help="Mean score to reach; the table gives the bytes it took.")
    ] = None,
) -> None:
    """Draw pictures of runs, and write a table.

    FOLDERS are run folders, or folders that hold them at any depth. The pictures show accuracy against rounds and
    against bytes, for each task and each client.
    """
    with one_clear_error():
        from fedmtl.report import write_report

        for path in write_report(folders, out or folders[0], target):
            typer.echo(path)


@app.command("list")
def list_known(kind: Annotated[Kind, typer.Argument(hidden=True, metavar="KIND")]) -> None:
    """List what a preset can name, and what it takes.

    KIND is algorithms, weightings, optimizers, codecs, tasks, data, models or presets.
    """
    with one_clear_error():
        if kind is Kind.presets:
            from fedmtl.loading import presets

            for name, path in presets().items():
                first = path.read_text(encoding="utf-8").splitlines()[0]
                typer.echo(f"{name:<16} {first.lstrip('# ')}")
            return
        from fedmtl.components import REGISTRY, find

        for name in REGISTRY[kind.value if kind is Kind.data else kind.value[:-1]]:
            cls = find(kind.value if kind is Kind.data else kind.value[:-1], name)
            typer.echo(f"{name:<16} {first_line(cls)}\n{'':<16} {fields_of(cls)}")


class What(StrEnum):
    """What ``fedmtl export`` can export."""

    rounds = "rounds"
    ledger = "ledger"


class Format(StrEnum):
    """And as what."""

    jsonl = "jsonl"
    csv = "csv"


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(hidden=True, metavar="RUN")],
    what: Annotated[
        What,
        typer.Option(show_default=False, help="A row for each measurement (rounds, the default), or packet (ledger)."),
    ] = What.rounds,
    format: Annotated[Format, typer.Option(show_default=False, help="Lines of JSON (default), or CSV.")] = Format.jsonl,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Where to; default: standard output.")
    ] = None,
) -> None:
    """Print the rows of a run as text, for other programs.

    RUN is a run folder, also of a run that goes on or was killed. The file is read and printed bit by bit, so any
    length will do: fedmtl export runs/first --what ledger --format csv --out ledger.csv
    """
    with one_clear_error():
        from fedmtl.study.export import export as export_table
        from fedmtl.study.export import write_export

        text = export_table(folder, what.value, format.value)
        if out is not None:
            write_export(text, out)
            return
        try:
            for piece in text:
                sys.stdout.write(piece)
            sys.stdout.flush()
        except BrokenPipeError:  # `| head` has what it wants; Python must not flush once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


@app.command()
def verify(algorithms: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="ALGORITHMS")] = None) -> None:
    """Check algorithms against known numbers, and print a scorecard.

    ALGORITHMS are names (see: fedmtl list algorithms); default: all. Each line gives a check, what was expected and
    what was got; how the expected number is derived stands in fedmtl/verify/, in the check's docstring. Ends with
    exit code 1 if a check fails.
    """
    with one_clear_error():
        from fedmtl.verify.scorecard import scorecard

        passed = scorecard(algorithms or [], typer.echo)
    if not passed:
        raise typer.Exit(1)


@app.command()
def shrink(
    folder: Annotated[Path, typer.Argument(hidden=True)],
    keep: Annotated[
        list[float] | None, typer.Option(help="The fraction of the weights that pruning keeps; default: 0.5, 0.2, 0.1.")
    ] = None,
    clients: Annotated[int, typer.Option(show_default=False, help="How many clients, drawn; default: all.")] = 0,
    state: Annotated[
        Path | None, typer.Option(help="Where private states are, if not in the run folder: a device's state-dir.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Folder for the files, <client>/<form>.small.")] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
) -> None:
    """Make clients' models small after a run: int8, pruned, both.

    FOLDER is the folder of a finished run. The table gives the mean length of a client's file and what the models
    that are read back from the files reach on the clients' test examples. size.json and size.csv go to the folder.
    """
    with one_clear_error():
        import json

        from fedmtl.run_folder import write_outputs
        from fedmtl.size.form import FORMS, forms
        from fedmtl.size.shrink import shrink as make_small
        from fedmtl.size.table import markdown, summary, to_csv

        shrunk = make_small(folder, forms(keep) if keep else FORMS, clients, state, export, allow or ())
        found = summary(shrunk)
        write_outputs(folder, {"size.json": json.dumps(found, indent=2).encode(), "size.csv": to_csv(shrunk).encode()})
        typer.echo(markdown(found))
        if found["left_out"]:
            typer.echo(f"left out, their private state is elsewhere: {len(found['left_out'])} clients")
        typer.echo(f"{found['clients']} clients: {folder / 'size.json'}, {folder / 'size.csv'}")


@app.command()
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
    with one_clear_error():
        from dataclasses import replace

        from fedmtl.bench.run import bench as run_bench
        from fedmtl.bench.run import quick as shorten
        from fedmtl.bench.workloads import WORKLOADS

        if turns < 1 or workers < 1:
            raise ValueError(f"turns and workers are at least 1, got --turns {turns} --workers {workers}.")
        names = list(dict.fromkeys(name.upper() for name in workload or WORKLOADS))
        for name in names:
            if name not in WORKLOADS:
                raise ValueError(f"A workload is one of {', '.join(WORKLOADS)}, got {name!r}.")
        chosen = [shorten(WORKLOADS[name]) if quick else WORKLOADS[name] for name in names]
        same = run_bench(
            [replace(one, rounds=rounds) if rounds else one for one in chosen],
            [word for words in against or [] for word in words.split(",")],
            1 if quick else turns,
            workers,
            compile,
            sweep and not quick,
            out,
            say=typer.echo,
            progress=lambda line: typer.echo(line, err=True),
        )
    if not same:
        typer.echo("error: some system did other work than the plain loop.", err=True)
        raise typer.Exit(1)


def first_line(cls: Any) -> str:
    return next((line.strip() for line in (cls.__doc__ or "").splitlines() if line.strip()), "")


def fields_of(cls: Any) -> str:
    """Fields with their defaults, as they are written in a preset."""
    import dataclasses

    parts = []
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            parts.append(f"{field.name}={field.default!r}")
        elif field.default_factory is not dataclasses.MISSING:
            parts.append(f"{field.name}={field.default_factory()!r}")
        else:
            parts.append(field.name)
    return ", ".join(parts) or "no fields"


def main() -> None:
    """Entry point of ``fedmtl`` and of ``python -m fedmtl``."""
    try:
        stopping.install()
        app()
    except stopping.Stopped:
        stopping.leave()
    except SystemExit as end:
        if stopping.stopping():
            stopping.leave()
        if "fedmtl.runtime.ray_workers" in sys.modules:
            from fedmtl.runtime.ray_workers import leave

            leave(end.code)
        raise
