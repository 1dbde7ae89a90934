"""Several experiments in, one report out: those that fail are rows that say so."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from fedmtl.analysis.gains import gains, gains_markdown
from fedmtl.analysis.groups import Group, group_runs
from fedmtl.analysis.read import empty_run, read_run
from fedmtl.analysis.report import write_report
from fedmtl.analysis.report.picture_file import PictureFile
from fedmtl.analysis.runs import Run
from fedmtl.analysis.table import markdown, tabulate
from fedmtl.core.files import Folder
from fedmtl.registry.allowed import Allowed
from fedmtl.runs.aliases import read_aliases, write_aliases
from fedmtl.runs.axis import Axis, write_axis
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.labels import settings, settings_key
from fedmtl.runs.run_failure import Failure
from fedmtl.runs.run_lock import hold
from fedmtl.runs.sweep import folder_names
from fedmtl.runtime.flower.component import refuse_deployed
from fedmtl.studies import Event, Pool, StudyTask, run_here


@dataclass(frozen=True)
class Comparison:
    """Outcome of a comparison."""

    out: Path
    """The folder of the report; runs are in ``runs`` there."""
    runs: tuple[Run, ...] = field(repr=False)
    """In the order of the experiments."""
    names: tuple[str, ...] = field(repr=False)
    """Names of the runs' folders, in ``runs``."""
    target: float | None

    @property
    def groups(self) -> list[Group]:
        """Runs of one experiment together, for ``tabulate``, ``verdicts`` and ``gains``."""
        return group_runs(self.runs, read_aliases(run.folder for run in self.runs))

    @property
    def text(self) -> str:
        """Markdown: a table of what each experiment reached and sent, and of what it gained over ``Local``."""
        groups = self.groups
        held = gains(groups)
        return markdown(tabulate(groups, self.target)) + (f"\n{gains_markdown(held)}" if held else "")

    def _repr_markdown_(self) -> str:
        return self.text

    @property
    def pictures(self) -> dict[str, PictureFile]:
        """Name -> a picture of the report, such as "overview", which a notebook shows."""
        return {path.stem: PictureFile(path) for path in sorted(self.out.glob("*.png"))}

    @property
    def failures(self) -> dict[str, Failure]:
        """Name of a run that does not count -> the reason."""
        pairs = zip(self.names, self.runs, strict=True)
        return {name: failure for name, run in pairs if (failure := run.failure) is not None}


def compare(
    presets: str | Path | Experiment | Sequence[str | Path | Experiment],
    out: str | Path = "runs/compare",
    *,
    algorithms: Sequence[str] = (),
    codecs: Sequence[str] = (),
    seeds: int | None = None,
    axis: str = "",
    settings: Sequence[str] = (),
    allow: Sequence[str] = (),
    grid: Mapping[str, Sequence[Any]] | None = None,
    target: float | None = None,
    jobs: int = 1,
    on_event: Callable[[Event], None] | None = None,
) -> Comparison:
    """Run presets, or experiments, with algorithms × codecs × seeds, and write a report: ``fedmtl compare`` in Python.

    Args:
        presets: files or names of presets, whose ``[compare]`` tables say what varies; or experiments as they are.
        out: as for ``compare_experiments``.
        algorithms, codecs, seeds: in place of what the tables say: ``["FedRep", "FedPer(lr=0.05)"]``,
            ``["Dense", "Int8/FP16"]``, a number of seeds from 0.
        axis: a field along which to compare, ``data.alpha=[0.1,1,10]``, likewise.
        settings: ``key=value`` changes of presets.
        allow: modules, or ``.py`` files, that components of presets may come from.
        grid: field -> values, such as ``{"algorithm.lr": [0.01, 0.1]}``. Each experiment is first tuned over all
            combinations, by its score on validation parts and on a seed that is reported nowhere; ``tuning.md`` has
            what was chosen. Experiments then have validation parts, a fifth where they had none.
        target: as for ``compare_experiments``; None for that of the first preset that has one.
        jobs, on_event: as for ``compare_experiments``.

    Raises:
        ValueError: as for ``compare_experiments``, or a preset, an option or a setting that cannot be.
    """
    from fedmtl.runs.sweep_presets import Varied, expand_presets

    some = [presets] if isinstance(presets, str | Path | Experiment) else list(presets)
    own = [one for one in some if isinstance(one, Experiment)]
    files = [str(one) for one in some if not isinstance(one, Experiment)]
    if own and (files or algorithms or codecs or seeds is not None or axis or settings):
        raise ValueError(
            "Experiments are compared as they are, got presets or options beside them; vary them with "
            "dataclasses.replace, and give all of them."
        )
    wanted = expand_presets(files, Varied(tuple(algorithms), tuple(codecs), seeds, axis), settings, allow)
    experiments = own or wanted.experiments
    if grid:
        from fedmtl.studies.tuning.on_grid import tune_on_grid

        experiments = tune_on_grid(experiments, grid, Path(out), Allowed(modules=tuple(allow)))
    return compare_experiments(
        experiments,
        out,
        target=wanted.target if target is None else target,
        aliases=() if own else wanted.aliases(experiments),
        axis=wanted.axis,
        jobs=jobs,
        on_event=on_event,
    )


def compare_experiments(
    experiments: Sequence[Experiment],
    out: str | Path,
    *,
    target: float | None = None,
    aliases: Sequence[str] = (),
    axis: Axis | None = None,
    jobs: int = 1,
    on_event: Callable[[Event], None] | None = None,
    pool: Pool | None = None,
) -> Comparison:
    """Run experiments, and write a report of them. A run that fails ends alone: the others go on.

    Runs that are finished in the folder are not repeated, and those that were ended go on.

    Args:
        experiments: each with a seed of its own, or unlike in something else.
        out: the folder for the runs, the table and the pictures.
        target: the mean score over tasks for which to count the bytes that it took.
        aliases: the name that the report gives to each experiment; an empty text, or none at all, is the short name.
        axis: the field along which the experiments differ, for the pictures.
        jobs: runs at a time, each in a process of its own; the bits are the same.
        on_event: called with what happens.
        pool: processes that were started before, in place of ``jobs``.

    Raises:
        ValueError: every run failed before its first round, for the reason that is given; runs on GPUs or a
            cluster, side by side; or a runtime whose runs are started elsewhere.
    """
    if not experiments:
        raise ValueError("A comparison needs at least one experiment, got none.")
    if jobs < 1:
        raise ValueError(f"jobs is the number of runs at a time, at least 1, got {jobs}.")
    for each in experiments:
        refuse_deployed(each.runtime)
    out = Path(out)
    tasks = tasks_of(experiments, out, axis)
    watch = on_event or (lambda event: None)
    with hold(out.resolve()):
        names = [task.name for task in tasks]
        for name in names:
            Folder(out).names(f"runs/{name}")  # refuses a link, which would lead out of the folder
        write_aliases(out, names, aliases or [""] * len(names))
        write_axis(out, axis)
        with nullcontext() if pool is not None or jobs == 1 else Pool(min(jobs, len(tasks))) as own:
            side_by_side = pool or own
            failures = run_here(tasks, watch) if side_by_side is None else side_by_side.run(tasks, watch)
        runs = [_read_back(task, failure) for task, failure in zip(tasks, failures, strict=True)]
        first = next(filter(None, failures), None)
        if first is not None and not any(run.rows for run in runs):
            raise ValueError(first.reason)
        write_report(runs, out, target)
    return Comparison(out, tuple(runs), tuple(names), target)


def tasks_of(experiments: Sequence[Experiment], out: Path, axis: Axis | None = None) -> list[StudyTask]:
    """The runs of a comparison, in ``runs`` of its folder."""
    names = folder_names(experiments, axis)
    return [
        StudyTask(experiment, name, out / "runs" / name) for experiment, name in zip(experiments, names, strict=True)
    ]


def _read_back(task: StudyTask, failure: Failure | None) -> Run:
    """The run that a task left, with what this attempt failed of.

    A folder that was refused holds another run, or one that is finished on other data: it has no row of this run.
    """
    if failure is None:
        return read_run(task.folder)
    experiment = tomllib.loads(tomli_w.dumps(task.experiment.to_dict()))  # as a run's folder has it
    try:
        run = read_run(task.folder)
    except (OSError, ValueError):
        return empty_run(task.folder, experiment, failure)
    if run.finished or _what(run.experiment) != _what(experiment):
        return empty_run(task.folder, experiment, failure)
    return run if run.noted is not None else replace(run, noted=failure)


def _what(experiment: Mapping[str, Any]) -> str:
    return settings_key({**settings(experiment), "seed": experiment["seed"]})
