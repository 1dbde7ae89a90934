"""Sweeps: all combinations of the values of some fields, times seeds, and their Pareto fronts."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from fedmtl.analysis.report.front_table import front_files
from fedmtl.core.bounds import shown
from fedmtl.runs.axis import VARIED
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.run_folder import write_outputs
from fedmtl.runs.settings import setting
from fedmtl.runs.sweep import MOST_RUNS, identity
from fedmtl.runs.sweep_presets import Varied, Wanted, expand_presets
from fedmtl.studies import Event, Pool
from fedmtl.studies.comparison import Comparison, compare_experiments


def swept(
    presets: Sequence[str],
    over: Mapping[str, Sequence[Any]],
    varied: Varied,
    settings: Sequence[str],
    allow: Sequence[str],
) -> tuple[list[Experiment], float | None]:
    """Return the experiments of a sweep, each once, and the target of its presets; nothing runs yet.

    Args:
        presets: files, or names of presets.
        over: field -> values; a dot goes into a component, ``algorithm.lr``. Empty: the presets as they are.
        varied, settings, allow: as in ``expand_presets``.

    Raises:
        ValueError: a field without a value or that has options of its own, too many runs, or an experiment
            that cannot be.
    """
    _check(over, varied)
    found: dict[Hashable, Experiment] = {}
    target: float | None = None
    for values in product(*over.values()):
        chosen = [setting(field, value) for field, value in zip(over, values, strict=True)]
        wanted: Wanted = expand_presets(presets, varied, [*settings, *chosen], allow)
        target = wanted.target if target is None else target
        for one in wanted.experiments:
            found.setdefault(identity(one), one)
        if len(found) > MOST_RUNS:
            raise ValueError(f"A sweep has at most {MOST_RUNS:,} runs, got more; sweep in parts.")
    return list(found.values()), target


def _check(over: Mapping[str, Sequence[Any]], varied: Varied) -> None:
    for field, values in over.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{field}: the values of a sweep are a list of at least one, got {shown(values)}.")
        if field in VARIED:
            raise ValueError(f"{field} is varied by algorithms, codecs and seeds; list it there, and not as a field.")
        if varied.algorithms and field.split(".")[0] == "algorithm":
            raise ValueError(
                f"{field} is a field of the preset's algorithm, but algorithms are listed; list them with that field, "
                "such as 'FedPer(lr=0.05)', or sweep a preset for each."
            )


def sweep_experiments(
    experiments: Sequence[Experiment],
    out: str | Path,
    *,
    target: float | None = None,
    jobs: int = 1,
    on_event: Callable[[Event], None] | None = None,
    pool: Pool | None = None,
) -> Comparison:
    """Run experiments as ``compare_experiments`` does, and write ``fronts`` beside its report."""
    found = compare_experiments(experiments, out, target=target, jobs=jobs, on_event=on_event, pool=pool)
    write_outputs(found.out, front_files(found.groups, target))
    return found


def sweep(
    presets: str | Path | Sequence[str | Path],
    out: str | Path = "runs/sweep",
    *,
    over: Mapping[str, Sequence[Any]] | None = None,
    algorithms: Sequence[str] = (),
    codecs: Sequence[str] = (),
    seeds: int | None = None,
    settings: Sequence[str] = (),
    allow: Sequence[str] = (),
    target: float | None = None,
    jobs: int = 1,
    on_event: Callable[[Event], None] | None = None,
) -> Comparison:
    """Run all combinations of some fields' values, times algorithms, codecs and seeds: ``fedmtl sweep`` in Python.

    Runs that are finished in the folder are not repeated, and those that were ended go on. Beside the report of a
    comparison stands ``fronts``, as Markdown, CSV and LaTeX: score against bytes, and simulated seconds and joules.

    Args:
        presets: files or names of presets.
        out: folder for the runs, the tables and the pictures.
        over: field -> values, such as ``{"algorithm.lr": [0.01, 0.1], "batch_size": [8, 32]}``; None for the
            presets as they are, such as those of a front that ``tune`` has found.
        algorithms, codecs, seeds, settings, allow: as for ``compare``.
        target: mean score over tasks; tables say how many seeds reached it, and for how many bytes.
        jobs, on_event: as for ``compare``.

    Raises:
        ValueError: as for ``swept`` and ``compare_experiments``.
    """
    some = [presets] if isinstance(presets, str | Path) else list(presets)
    varied = Varied(tuple(algorithms), tuple(codecs), seeds)
    experiments, own = swept([str(one) for one in some], over or {}, varied, settings, allow)
    target = own if target is None else target
    return sweep_experiments(experiments, out, target=target, jobs=jobs, on_event=on_event)
