"""Every configuration of a comparison tuned alike: as many trials, as many rounds, the same seed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fedmtl.analysis.numbers import human_bytes
from fedmtl.core.markdown import table
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.run_lock import hold
from fedmtl.runs.sweep import folder_names
from fedmtl.studies.tuning.spaces import Space, default_space, has_field
from fedmtl.studies.tuning.trials import Trial
from fedmtl.studies.tuning.tune import SEED, VALID_FRACTION, Tuned, Tuning, tune


class Method(NamedTuple):
    """One configuration of a comparison, to be tuned."""

    name: str
    """Name of its folder."""
    seeds: tuple[int, ...]
    experiment: Experiment
    """That of the first seed."""
    space: Space
    """Empty where it has nothing to tune."""


def methods_of(experiments: Sequence[Experiment], table: Space | None = None) -> list[Method]:
    """The configurations among some experiments, which differ in more than their seeds.

    Args:
        experiments: of a comparison.
        table: a preset's space. Each configuration is tuned over those of its fields that it has; over those of
            ``spaces.DEFAULTS`` where it has none of them, or there is no table.
    """
    found: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        found.setdefault(repr((experiment.name, replace(experiment, seed=0).result_settings)), []).append(experiment)
    firsts = [some[0] for some in found.values()]
    names = [re.sub(r"/seed\d+$", "", name) for name in folder_names([replace(one, seed=0) for one in firsts])]
    methods = []
    for name, first, some in zip(names, firsts, found.values(), strict=True):
        space = {path: values for path, values in (table or {}).items() if has_field(first, path)}
        methods.append(Method(name, tuple(one.seed for one in some), first, space or default_space(first)))
    return methods


def free_seed(experiments: Sequence[Experiment]) -> int:
    """A seed for trials that none of the experiments has."""
    taken, seed = {experiment.seed for experiment in experiments}, SEED
    while seed in taken:
        seed += 1
    return seed


def tune_alike(
    methods: Sequence[Method],
    out: Path,
    settings: Tuning,
    *,
    local: bool = False,
    allowed: Allowed = NOTHING,
    on_trial: Callable[[Method, Trial], None] | None = None,
) -> tuple[list[Experiment], dict[str, Tuned]]:
    """Tune each of the methods, in a folder each; return what is to be run on their seeds, and what was found.

    Args:
        methods: what is tuned.
        out: their folders' folder.
        settings: the same for all.
        local: as for ``tune``.
        allowed: modules that values may come from.
        on_trial: called with each trial that is done.

    Raises:
        ValueError: several objectives, which choose no one setting; or as for ``tune``.
    """
    if settings.costs:
        raise ValueError(
            f"A comparison runs one setting of each method, got the objectives {', '.join(settings.objective)}; take "
            "one, or tune each method for several alone, and sweep the presets of the fronts."
        )
    experiments: list[Experiment] = []
    found: dict[str, Tuned] = {}
    for method in methods:
        chosen = replace(method.experiment, valid_fraction=method.experiment.valid_fraction or VALID_FRACTION)
        if method.space:
            watch = None if on_trial is None else lambda trial, method=method: on_trial(method, trial)
            folder = out / method.name
            with hold(folder.resolve()):  # a process of a comparison that was killed may not have ended yet
                tuned = tune(
                    method.experiment,
                    folder,
                    method.space,
                    settings,
                    local=local,
                    allowed=allowed,
                    on_trial=watch,
                )
            found[method.name], chosen = tuned, tuned.experiment
        experiments += [replace(chosen, seed=seed) for seed in method.seeds]
    return experiments, found


def choices_markdown(methods: Sequence[Method], found: Mapping[str, Tuned], settings: Tuning) -> str:
    """A table of what was chosen, and whether it lies inside its ranges."""
    sent = sum(tuned.sent for tuned in found.values())
    text = (
        f"Tuned alike: {settings.trials} trials each ({settings.sampler}"
        f"{', successive halving' if settings.halving else ''}) on seed {settings.seed}, which is reported nowhere, by "
        f"the mean score on validation parts; {human_bytes(sent)} in all. No trial measured a test part.\n"
    )
    head = ["experiment", "chosen", "round", "validation score", "inside its ranges", "bytes of its trials"]
    rows = []
    for own in choices(methods, found):
        numbers = [""] * 4
        if "round" in own:
            size = human_bytes(own["trial_bytes"])
            numbers = [str(own["round"]), f"{own['validation_score']:.4f}", own["inside_ranges"], size]
        rows.append([own["experiment"], own["chosen"], *numbers])
    return f"{text}\n{table(head, rows, left=(0, 1, 4))}"


def choices(methods: Sequence[Method], found: Mapping[str, Tuned]) -> list[dict[str, Any]]:
    """A record for each method: what was chosen, in full precision."""
    records: list[dict[str, Any]] = []
    for method in methods:
        tuned = found.get(method.name)
        if tuned is None:
            records.append({"experiment": method.name, "chosen": "nothing to tune"})
            continue
        edges = "; ".join(f"no: {path.rpartition('.')[2]} is at its {edge} end" for path, edge in tuned.edges.items())
        records.append(
            {
                "experiment": method.name,
                "chosen": ", ".join(f"{path.rpartition('.')[2]}={value}" for path, value in tuned.best.values.items()),
                "round": tuned.best.best_round,
                "validation_score": tuned.best.score,
                "inside_ranges": edges or "yes",
                "trial_bytes": tuned.sent,
            }
        )
    return records
