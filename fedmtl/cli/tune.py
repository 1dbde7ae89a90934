"""``fedmtl tune``: hyper-parameters, chosen on validation parts; and the same for ``fedmtl compare --tune``."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmtl.cli.errors import one_clear_error
from fedmtl.cli.options import ALLOW, DOWN_CODEC, ENGINE, RUNTIME, SETTINGS, UP_CODEC, with_places
from fedmtl.cli.run import this_command
from fedmtl.core import stopping
from fedmtl.core.terminal import say

if TYPE_CHECKING:
    from fedmtl.runs.experiment import Experiment
    from fedmtl.runs.sweep_presets import Expanded
    from fedmtl.studies import Pool
    from fedmtl.studies.tuning import Trial, Tuned, Tuning


class Sampler(StrEnum):
    """Sampler of a trial's values."""

    tpe = "tpe"
    random = "random"
    grid = "grid"


class TuneObjective(StrEnum):
    """An objective: the score is maximised, costs are minimised."""

    score = "score"
    score_bytes = "score-bytes"
    bytes = "bytes"
    seconds = "seconds"
    joules = "joules"


def tune(
    preset: Annotated[str, typer.Argument(hidden=True)],
    trials: Annotated[int, typer.Option(show_default=False, help="How many: 20.")] = 20,
    sampler: Annotated[
        Sampler,
        typer.Option(
            show_default=False, help="tpe (Optuna's, the default), random, or grid: all combinations of lists."
        ),
    ] = Sampler.tpe,
    halving: Annotated[
        bool,
        typer.Option("--halving", help="A ninth of the rounds for all trials, a third for the best third, and so on."),
    ] = False,
    objective: Annotated[
        list[TuneObjective] | None,
        typer.Option(
            help="score (default); score-bytes: minus --price x log10 of the bytes; or several, score and bytes, "
            "seconds or joules, for their front: given once for each."
        ),
    ] = None,
    price: Annotated[
        float, typer.Option(show_default=False, help="The score that a tenth of the bytes is worth: 0.05.")
    ] = 0.05,
    seed: Annotated[int | None, typer.Option(help="Of the trials; reported runs have others. Default: 10007.")] = None,
    engine: Annotated[str | None, ENGINE] = None,
    runtime: Annotated[str | None, RUNTIME] = None,
    up_codec: Annotated[str | None, UP_CODEC] = None,
    down_codec: Annotated[str | None, DOWN_CODEC] = None,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    allow: Annotated[list[str] | None, ALLOW] = None,
    out: Annotated[
        Path, typer.Option(show_default=False, help="Folder for trials, trials.csv and tuned.toml: runs/tune.")
    ] = Path("runs/tune"),
) -> None:
    """Choose hyper-parameters by the score on validation parts.

    PRESET is a TOML file, or the name of a preset. Its [tune] table names fields and their values, such as
    "algorithm.lr" = { low = 0.001, high = 1.0, log = true } or up_codec = ["Int8", "FP16"]; without one, the step sizes
    and penalties of its algorithm are tuned. No trial measures a test part. The result is a preset: fedmtl run
    runs/tune/tuned.toml

    With several objectives, trials that no other dominates are marked in trials.csv; front.md, .csv and .tex list them,
    tradeoff.png shows them, and front/ has a preset for each, for fedmtl sweep over seeds.

    A tuning that was interrupted goes on with the same command, and ends with the same choice.
    """
    with one_clear_error():
        from fedmtl.runs.experiment import from_dict
        from fedmtl.runs.presets import read_preset, read_values
        from fedmtl.runs.run_lock import hold
        from fedmtl.studies.tuning import Tuning, default_space, space_of
        from fedmtl.studies.tuning import tune as tune_experiment
        from fedmtl.studies.tuning.alike import free_seed

        stopping.hint(f"what is done is kept; go on with the same command: {this_command()}")
        table = read_preset(preset)[0].get("tune")
        settings = with_places(settings, engine, runtime, up_codec, down_codec)
        values, path, allowed = read_values(preset, settings, allow or [])
        experiment = from_dict(values, path, allowed)
        space = default_space(experiment) if table is None else space_of(table)
        aims = tuple(one.value for one in objective or [TuneObjective.score])
        chosen = Tuning(trials, sampler.value, halving, aims, price, free_seed([experiment]) if seed is None else seed)
        _say_part(experiment)
        say(f"{experiment.name}: {experiment.label}: {', '.join(space)}, {trials} trials on seed {chosen.seed}", "  ")
        with hold(out.resolve()):
            tuned = tune_experiment(
                experiment,
                out,
                space,
                chosen,
                local="runtime" not in values,
                allowed=allowed,
                on_trial=lambda trial: _show(trial, chosen, "trial "),
            )
        from fedmtl.analysis.numbers import human_bytes

        best = tuned.best
        if chosen.costs:
            _say_front(tuned, out)
        say(f"best: {_values(best)}  validation score {best.score:.4f} after round {best.best_round}")
        for field, edge in tuned.edges.items():
            say(f"{field} = {best.values[field]} lies at the {edge} end of its range: widen it in a [tune] table")
        say(f"{human_bytes(tuned.sent)} sent by all trials; {out / 'trials.csv'}")
        say(f"run it: fedmtl run {out / 'tuned.toml'}")


def tune_comparison(
    expanded: "Sequence[Expanded]", trials: int, out: Path, pool: "Pool | None"
) -> "tuple[list[Experiment], str]":
    """Tune all configurations of a comparison alike; return what to run on the reported seeds, and a table.

    Args:
        expanded: presets.
        trials: of each configuration.
        out: the comparison's folder.
        pool: processes that tune several configurations at a time, to the same choices; None for one after the other.
    """
    from fedmtl.analysis.report.numbers import to_csv
    from fedmtl.analysis.report.tables import ReportTable, files
    from fedmtl.runs.run_folder import write_outputs
    from fedmtl.studies.tuning import Tuning, space_of
    from fedmtl.studies.tuning.alike import choices, choices_markdown, free_seed, methods_of, tune_alike
    from fedmtl.studies.tuning.side_by_side import studies_of, tune_side_by_side

    settings = Tuning(trials, seed=free_seed([one for found in expanded for one in found.experiments]))
    every = [methods_of(one.experiments, None if one.space is None else space_of(one.space)) for one in expanded]
    shown: set[tuple[str, int]] = set()

    def show(name: str, trial: "Trial") -> None:
        if (name, trial.number) not in shown:
            shown.add((name, trial.number))
            _show(trial, settings, f"{name}, trial ")

    for methods in every:
        _say_part(methods[0].experiment)
    where = [{"local": not found.insists, "allowed": found.allowed} for found in expanded]
    if pool is not None:
        studies = [
            study
            for methods, place in zip(every, where, strict=True)
            for study in studies_of(methods, out / "tuning", settings, **place)
        ]
        tune_side_by_side(studies, pool, show)
    experiments, tables, records = [], [], []
    for methods, place in zip(every, where, strict=True):
        chosen, tuned = tune_alike(
            methods, out / "tuning", settings, **place, on_trial=lambda method, trial: show(method.name, trial)
        )
        experiments += chosen
        tables.append(choices_markdown(methods, tuned, settings))
        records += choices(methods, tuned)
    caption = f"Settings that were chosen, of {trials} trials for each experiment."
    write_outputs(out, files("tuning", [ReportTable(caption, text) for text in tables], to_csv(records)))
    return experiments, "\n".join(tables)


def _say_part(experiment: "Experiment") -> None:
    from fedmtl.studies.tuning.tune import VALID_FRACTION

    if not experiment.valid_fraction:
        say(
            f"valid_fraction={VALID_FRACTION:g} for trials and for what is chosen: the preset has no validation parts",
            "  ",
        )


def _say_front(tuned: "Tuned", out: Path) -> None:
    from fedmtl.studies.tuning.front import human_costs, preset_name

    say(f"front: {len(tuned.front)} of {len(tuned.trials)} trials, which no other dominates; {out / 'front.md'}")
    for trial in tuned.front:
        costs = "  ".join(human_costs(trial))
        say(f"  {preset_name(trial.number)}  {_values(trial)}  score {trial.score:.4f}  {costs}", "    ")
    say(f"run it over seeds, on test parts: fedmtl sweep {out / 'front'}/*.toml --seeds 3 --out {out / 'seeds'}")


def _show(trial: "Trial", settings: "Tuning", what: str) -> None:
    stopping.reached(f"after {what}{trial.number}")
    from fedmtl.studies.tuning.front import human_costs

    costs = "".join(f"  {cost}" for cost in human_costs(trial))
    score = "diverged" if trial.state == "diverged" else f"score {trial.score:.4f} (round {trial.best_round}){costs}"
    same = "" if trial.same_as is None else f"  the same as trial {trial.same_as}"
    say(f"  {what}{trial.number + 1}/{settings.trials}  {_values(trial)}  {score}{same}", "    ")


def _values(trial: "Trial") -> str:
    return " ".join(f"{path.removeprefix('algorithm.')}={value}" for path, value in trial.values.items())
