"""Tuning: a number of trials of an experiment's hyper-parameters, chosen by the score on validation parts.

All trials run on one seed, which no reported run has, so that no reported number has been looked at; and none measures
a test part. Data that is divided anew by each seed (most of fedmtl's own) has other test parts in reported runs, whose
examples may be among the tuning seed's training examples: data with a test part of its own has none of that.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from fedmtl.core.bounds import check_float, check_int, shown
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import without
from fedmtl.runs.run_folder import remove_states, write_outputs
from fedmtl.runtime.flower.component import refuse_deployed
from fedmtl.studies.tuning.front import front_files, remove_dominated
from fedmtl.studies.tuning.objectives import check_clock, costs_of, front, measure, ranked, single, vector
from fedmtl.studies.tuning.record import RECORD, TrialRecord, identity, preset, table
from fedmtl.studies.tuning.samplers import SAMPLERS, check_grid, propose
from fedmtl.studies.tuning.spaces import Choices, Range, Space, default_space, own_values, with_values
from fedmtl.studies.tuning.trials import DIVERGED, Trial, run_trial

SEED = 10_007
"""Seed of the trials."""

VALID_FRACTION = 0.2
"""Validation part where the experiment has none."""

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
    objective: str | Sequence[str] = "score"
    """"score": the mean score on validation parts after the best round. "score-bytes": that, minus ``price`` times
    log10 of the training bytes up to this round. Several, such as ("score", "bytes"): their front; "bytes" are those of
    all training, both ways, "seconds" and "joules" those of the simulated clock."""
    price: float = 0.05
    """The score that sending a tenth of the bytes is worth."""
    seed: int = SEED
    """Seed of all trials' runs; reported runs have others."""

    def __post_init__(self) -> None:
        check_int("trials", self.trials, 1, 10_000)
        check_int("The tuning's seed", self.seed, 0)
        check_float("price", self.price)
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler is one of {', '.join(SAMPLERS)}, got {shown(self.sampler)}.")
        costs_of(self.objective, self.halving)
        if not isinstance(self.objective, str):
            words = tuple(self.objective)
            object.__setattr__(self, "objective", words[0] if len(words) == 1 else words)

    @property
    def costs(self) -> tuple[str, ...]:
        """Objectives beside the score; none where the objective is one number."""
        return costs_of(self.objective, self.halving)


class Tuned(NamedTuple):
    """Outcome of a tuning."""

    experiment: Experiment
    """With the best values, and validation parts as the trials had."""
    best: Trial
    """The trial with the best objective; where there are several, the one on the front with the highest score."""
    edges: dict[str, str]
    """Field -> "low" or "high", where its best value lies at an end of its range: the range may be too small."""
    trials: list[Trial]
    sent: int
    """Bytes of all trials, training and evaluation."""
    front: list[Trial]
    """Trials that no other dominates, by cost; of one objective, the best alone."""


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
    trial, and ``tuned.toml`` is the experiment with the best values, for ``fedmtl run``. Of several objectives,
    ``front`` is their front as a table and as presets, for ``sweep`` over seeds, and ``tradeoff`` a picture of it.

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
            experiment's own seed, seconds or joules without a simulated clock, a runtime whose runs are started
            elsewhere, a folder that holds another tuning, or trials that all diverged.
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
        trial = replace(trial, costs=measure(trial, out / "trials" / f"{number:03d}", settings.costs))
        return replace(trial, objectives={f"{rounds}": single(trial, settings.objective, settings.price)})

    for number in range(settings.trials):
        if number not in record.trials:
            before = [record.trials[k] for k in range(number)]
            done = [(trial.values, vector(trial, rungs[0], settings.costs)) for trial in before]
            values = own_values(pilot, space) if number == 0 and settings.sampler != "grid" else {}
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
        order = [n for n in ranked(record.trials, alive, before) if record.trials[n].state != DIVERGED]
        alive = order[: math.ceil(settings.trials / PARTS ** (rungs.index(before) + 1))]
        for number in sorted(alive):
            old = record.trials[number]
            if f"{rounds}" not in old.objectives:
                new = attempt(number, old.values, rounds)
                record.add(replace(new, objectives={**old.objectives, **new.objectives}))
                if on_trial is not None:
                    on_trial(record.trials[number])
    trials = [record.trials[number] for number in range(settings.trials)]
    order = [n for n in ranked(record.trials, alive, rungs[-1]) if math.isfinite(trials[n].objective(rungs[-1]))]
    if not order:
        raise ValueError(
            f"None of {settings.trials} trials has a score: all diverged; lower the ranges of {', '.join(space)}."
        )
    best_ones = front(trials, settings.costs) if settings.costs else [trials[order[0]]]
    best = max(best_ones, key=lambda trial: trial.score)
    edges = {path: edge for path, value in best.values.items() if (edge := _edge(space[path], value))}
    tuned = Tuned(
        with_values(base, best.values, allowed),
        best,
        edges,
        trials,
        sum(sum(t.bytes.values()) for t in trials),
        best_ones,
    )
    files = {"trials.csv": table(trials, space, rungs, settings.costs, best_ones).encode()}
    if settings.costs:
        every = {one.number: with_values(base, one.values, allowed) for one in best_ones}
        presets = {one.number: preset(every[one.number], one, settings.trials, settings.seed) for one in best_ones}
        files |= front_files(best_ones, trials, settings.costs, presets)
        remove_dominated(out, files)
    files["tuned.toml"] = preset(tuned.experiment, best, settings.trials, settings.seed).encode()
    write_outputs(out, {**files, RECORD: record.text(_said(tuned, settings))})
    for trial in trials:
        remove_states(out / "trials" / f"{trial.number:03d}")
    return tuned


def _said(tuned: Tuned, settings: Tuning) -> dict[str, Any]:
    """The result in plain values."""
    best = tuned.best
    found = {"trial": best.number, "values": best.values, "score": best.score, "round": best.best_round}
    if settings.costs:
        found["front"] = [trial.number for trial in tuned.front]
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
            check_clock(settings.costs, with_values(pilot, {path: value}, allowed))


def _rungs(pilot: Experiment, settings: Tuning) -> list[int]:
    """Rounds after which trials are compared, ascending; the last is the end."""
    if not settings.halving:
        return [pilot.rounds]
    every = pilot.evaluate_every
    parts = [-(-pilot.rounds // (PARTS**power * every)) * every for power in (2, 1)]
    return [*sorted({rounds for rounds in parts if rounds < pilot.rounds}), pilot.rounds]


def _edge(values: Range | Choices, value: Any) -> str:
    return values.at_edge(value) if isinstance(values, Range) else ""
