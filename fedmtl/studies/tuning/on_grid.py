"""Experiments of a comparison tuned alike on one grid, before they are run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmtl.analysis.report.numbers import to_csv
from fedmtl.analysis.report.tables import ReportTable, files
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.run_folder import write_outputs
from fedmtl.runs.run_lock import hold
from fedmtl.studies.tuning.alike import choices, choices_markdown, free_seed, methods_of, tune_alike
from fedmtl.studies.tuning.samplers import grid as points_of
from fedmtl.studies.tuning.spaces import has_field, space_of
from fedmtl.studies.tuning.tune import Tuning


def tune_on_grid(
    experiments: Sequence[Experiment], grid: Mapping[str, Sequence[Any]], out: Path, allowed: Allowed = NOTHING
) -> list[Experiment]:
    """Give each experiment the values of the grid that are best on validation parts; see ``compare``.

    Args:
        experiments: those that differ in their seeds alone are tuned once.
        grid: field -> values.
        out: the comparison's folder; trials are in ``tuning`` there, and what was chosen in ``tuning.md``.
        allowed: modules that values may come from.

    Raises:
        ValueError: an experiment without one of the fields, and as for ``tune``.
    """
    space = space_of(grid)
    settings = Tuning(len(points_of(space)), "grid", seed=free_seed(experiments))
    methods = methods_of(experiments, space)
    for method in methods:
        for path in space:
            if not has_field(method.experiment, path):
                raise ValueError(
                    f"grid: {method.experiment.algorithm!r} has no {path!r}, and a grid is the same for all; compare "
                    "it without one, or tune with fedmtl compare --tune."
                )
    with hold(out.resolve()):
        chosen, tuned = tune_alike(methods, out / "tuning", settings, allowed=allowed)
        caption = f"Settings that were chosen, of {settings.trials} for each experiment."
        table = ReportTable(caption, choices_markdown(methods, tuned, settings))
        write_outputs(out, files("tuning", [table], to_csv(choices(methods, tuned))))
    return chosen
