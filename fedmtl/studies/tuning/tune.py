"""Tuning: a number of trials of an experiment's hyper-parameters, chosen by the score on validation parts.

All trials run on one seed, which no reported run has, so that no reported number has been looked at; and none measures
a test part. Data that is divided anew by each seed (most of fedmtl's own) has other test parts in reported runs, whose
examples may be among the tuning seed's training examples: data with a test part of its own has none of that.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from fedmtl.core.bounds import check_float, check_int, shown
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import without
from fedmtl.runs.run_folder import remove_states, write_outputs
from fedmtl.runtime.flower.component import refuse_deployed
from fedmtl.studies.tuning.record import RECORD, TrialRecord, identity, preset, table
from fedmtl.studies.tuning.samplers import SAMPLERS, check_grid, propose
from fedmtl.studies.tuning.spaces import Choices, Range, Space, default_space, value_of, with_values
from fedmtl.studies.tuning.trials import DIVERGED, Trial, run_trial

SEED = 10_007
"""Seed of the trials."""

VALID_FRACTION = 0.2
"""Validation part where the experiment has none."""

OBJECTIVES = ("score", "score-bytes")

PARTS = 3
"""Factor of successive halving: one trial in this number goes on, for this factor of the rounds."""


@dataclass(frozen=True)
class Tuning:
    """Settings of a tuning.

    Raises:
        ValueError: a number that is out of range, or an unknown word.
    """

    trials: int = 20
    sampler: str = "tpe"
    """"tpe", "random", or "grid", which takes lists of values and at least one trial for each combination."""
    halving: bool = False
    """Run all trials for a ninth of the rounds, the best third of them for a third, the best third of those for all."""
    objective: str = "score"
    """"score": the mean score on validation parts after the best round. "score-bytes": that, minus ``price`` times
    log10 of the training bytes up to this round."""
    price: float = 0.05
    """The score that sending a tenth of the bytes is worth."""
    seed: int = SEED
    """Seed of all trials' runs; reported runs have others."""

    def __post_init__(self) -> None:
        check_int("trials", self.trials, 1, 10_000)
        check_int("The tuning's seed", self.seed, 0)
        check_float("price", self.price)
        for name, known in (("sampler", SAMPLERS), ("objective", OBJECTIVES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, got {shown(getattr(self, name))}.")


class Tuned(NamedTuple):
    """Outcome of a tuning."""

    experiment: Experiment
    """With the best values, and validation parts as the trials had."""
    best: Trial
    edges: dict[str, str]
    """Field -> "low" or "high", where its best value lies at an end of its range: the range may be too small."""
    trials: list[Trial]
    sent: int
    """Bytes of all trials, training and evaluation."""


def tune(
    experiment: Experiment,
    out: str | Path,
    space: Space | None = None,
    settings: Tuning = Tuning(),  # noqa: B008  frozen
    *,
    local: bool = False,
    allowed: Allowed = NOTHING,
    on_trial: Callable[[Trial], None] | None = None,
    in_process: bool = False,
) -> Tuned:
    """Tune an experiment, in a folder in which a tuning that was ended goes on: with the same trials, to the same end.

    Trial 0 has the experiment's own values, where they lie in the space, but of a grid. ``trials.csv`` has a line a
    trial, and ``tuned.toml`` is the experiment with the best values, for ``fedmtl run``.

    Args:
        experiment: what is tuned. Where it has no validation parts, trials and result hold out ``VALID_FRACTION``.
        out: the folder.
        space: fields and their values; None for those of its algorithm, see ``spaces.DEFAULTS``.
        settings: trials, sampler, objective, seed.
        local: run trials in this process, wherever the experiment runs.
        allowed: modules that values of the space may come from.
        on_trial: called with each trial that is done, also those that were done before.
        in_process: as for ``run``.

    Raises:
        ValueError: nothing to tune, a field that the experiment does not have, values that it cannot have, the
            experiment's own seed, a runtime whose runs are started elsewhere, a folder that holds another tuning, or
            trials that all diverged.
    """
    out = Path(out)
    space = dict(default_space(experiment) if space is None else space)
    base = replace(experiment, valid_fraction=experiment.valid_fraction or VALID_FRACTION)
    if settings.seed == experiment.seed:
        raise ValueError(
            f"Trials have a seed of their own, and {settings.seed} is that of the experiment; take another."
        )
    where = "InProcess" if local else without(base.runtime, "state_dir")
    pilot = replace(base, seed=settings.seed, callbacks=(), runtime=where)
    refuse_deployed(pilot.runtime)
    _check_space(pilot, space, allowed, settings)
    record = TrialRecord(out, identity(pilot, space, vars(settings)))
    rungs = _rungs(pilot, settings)
    loaded: dict[str, Any] = {}

    def attempt(number: int, values: dict[str, Any], rounds: int) -> Trial:
        one = with_values(pilot, values, allowed)
        if one.data == pilot.data and "data" not in loaded:
            loaded["data"] = pilot.load()
        federation = loaded["data"] if one.data == pilot.data else None
        trial = run_trial(number, values, one, out / "trials" / f"{number:03d}", rounds, federation, in_process)
        return replace(trial, objectives={f"{rounds}": _objective(trial, settings)})

    for number in range(settings.trials):
        if number not in record.trials:
            before = [record.trials[k] for k in range(number)]
            done = [(trial.values, trial.objective(rungs[0])) for trial in before]
            values = _own_values(pilot, space) if number == 0 and settings.sampler != "grid" else {}
            values = values or propose(space, number, settings.sampler, settings.seed, done)
            twin = next((trial for trial in before if trial.values == values and trial.same_as is None), None)
            if twin is None:
                record.add(attempt(number, values, rungs[0]))
            else:
                nothing = dict.fromkeys(twin.bytes, 0)
                first = {f"{rungs[0]}": twin.objective(rungs[0])}
                record.add(replace(twin, number=number, bytes=nothing, objectives=first, same_as=twin.number))
        if on_trial is not None:
            on_trial(record.trials[number])
    alive = [trial.number for trial in record.trials.values() if trial.same_as is None]
    for before, rounds in zip(rungs, rungs[1:], strict=False):
        ranked = [n for n in _ranked(record.trials, alive, before) if record.trials[n].state != DIVERGED]
        alive = ranked[: math.ceil(settings.trials / PARTS ** (rungs.index(before) + 1))]
        for number in sorted(alive):
            old = record.trials[number]
            if f"{rounds}" not in old.objectives:
                new = attempt(number, old.values, rounds)
                record.add(replace(new, objectives={**old.objectives, **new.objectives}))
                if on_trial is not None:
                    on_trial(record.trials[number])
    trials = [record.trials[number] for number in range(settings.trials)]
    ranked = [n for n in _ranked(record.trials, alive, rungs[-1]) if math.isfinite(trials[n].objective(rungs[-1]))]
    if not ranked:
        raise ValueError(
            f"None of {settings.trials} trials has a score: all diverged; lower the ranges of {', '.join(space)}."
        )
    best = trials[ranked[0]]
    edges = {path: edge for path, value in best.values.items() if (edge := _edge(space[path], value))}
    tuned = Tuned(
        with_values(base, best.values, allowed), best, edges, trials, sum(sum(t.bytes.values()) for t in trials)
    )
    write_outputs(
        out,
        {
            "trials.csv": table(trials, space, rungs).encode(),
            "tuned.toml": preset(tuned.experiment, best, settings.trials, settings.seed).encode(),
            RECORD: record.text(_said(tuned)),
        },
    )
    for trial in trials:
        remove_states(out / "trials" / f"{trial.number:03d}")
    return tuned


def _said(tuned: Tuned) -> dict[str, Any]:
    """The result in plain values."""
    best = tuned.best
    found = {"trial": best.number, "values": best.values, "score": best.score, "round": best.best_round}
    return {**found, "edges": tuned.edges, "bytes": tuned.sent}


def _check_space(pilot: Experiment, space: Space, allowed: Allowed, settings: Tuning) -> None:
    if not space:
        raise ValueError(
            f"{pilot.algorithm!r} has no field with a range of its own to tune; name fields in a [tune] table, such as "
            '"algorithm.epochs" = { low = 1, high = 20 }.'
        )
    if settings.sampler == "grid":
        check_grid(space, settings.trials)
    for path in ("seed", "valid_fraction", "patience", "rounds", "evaluate_every", "evaluate_clients"):
        if path in space:
            raise ValueError(f"tune: {path} is the same in all trials, which would not be comparable; leave it out.")
    for path, values in space.items():
        for value in (values.low, values.high) if isinstance(values, Range) else values:
            with_values(pilot, {path: value}, allowed)


def _own_values(pilot: Experiment, space: Space) -> dict[str, Any]:
    """The experiment's values of the fields, where all lie in the space; else none."""
    found = {}
    for path, values in space.items():
        value = value_of(pilot, path)
        if isinstance(values, Range):
            good = not isinstance(value, bool) and isinstance(value, int | float) and values.low <= value <= values.high
            found[path] = value
        else:
            same = [one for one in values if value_of(with_values(pilot, {path: one}), path) == value]
            good = bool(same)
            found[path] = same[0] if same else None
        if not good:
            return {}
    return found


def _rungs(pilot: Experiment, settings: Tuning) -> list[int]:
    """Rounds after which trials are compared, ascending; the last is the end."""
    if not settings.halving:
        return [pilot.rounds]
    every = pilot.evaluate_every
    parts = [-(-pilot.rounds // (PARTS**power * every)) * every for power in (2, 1)]
    return [*sorted({rounds for rounds in parts if rounds < pilot.rounds}), pilot.rounds]


def _objective(trial: Trial, settings: Tuning) -> float:
    if settings.objective == "score" or not math.isfinite(trial.score):
        return trial.score
    return trial.score - settings.price * math.log10(max(1, trial.to_best))


def _ranked(trials: Mapping[int, Trial], numbers: Sequence[int], rounds: int) -> list[int]:
    """By objective, the best first, of equal ones the earlier."""

    def worth(number: int) -> tuple[float, int]:
        value = trials[number].objective(rounds)
        return (-value if math.isfinite(value) else math.inf, number)

    return sorted(numbers, key=worth)


def _edge(values: Range | Choices, value: Any) -> str:
    return values.at_edge(value) if isinstance(values, Range) else ""
