"""Should I federate? What each task gains over learning alone, and which tasks lose.

A gain is a difference of scores, paired over seeds as in ``differences``, with the interval of ``intervals``: the gain
over all tasks is the difference of the mean scores, and no second statistic. A task whose whole interval lies below 0
loses: negative transfer. For papers that give it, the relative gain is there too, as a mean alone: for task t with
metric M_t, s_t = +1 where higher is better and −1 where lower is, and Local's M⁰_t of the same seed,

    Δm = mean over tasks of 100 s_t (M_t − M⁰_t) / |M⁰_t|            per cent                                   (1)

    Maninis, Radosavovic, Kokkinos. CVPR 2019, equation 4. arXiv:1904.08918
"""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite, nan
from typing import NamedTuple

from fedmtl.analysis.differences import Difference, paired_difference, peers
from fedmtl.analysis.groups import Group, by_problem
from fedmtl.analysis.intervals import Estimate, estimate, too_few
from fedmtl.analysis.runs import Run
from fedmtl.core.markdown import table
from fedmtl.runs.labels import class_name
from fedmtl.tasks.worst import worst_tenth

ALONE = "Local"


class Gain(NamedTuple):
    """One experiment held against Local."""

    problem: str
    name: str
    """Name of the group, as in ``Group``."""
    baseline: str
    """Name of Local's group."""
    seeds: tuple[int, ...]
    """That both have finished."""
    tasks: dict[str, Estimate]
    """Task -> the difference of its scores; of labelled tasks only."""
    mean: Difference
    """The difference of the mean scores."""
    relative: float
    """Δm, (1); NaN where Local's metric is 0."""
    worst_tenth: Estimate
    """Mean score of the tenth of clients that fares worst (``worst_tenth``), minus the same of Local; not the same
    clients."""

    @property
    def losing(self) -> list[str]:
        """Tasks that are worse off than alone, the worst first."""
        lost = [task for task, gain in self.tasks.items() if gain.high is not None and gain.high < 0]
        return sorted(lost, key=lambda task: self.tasks[task].mean)

    @property
    def verdict(self) -> str:
        """Way out."""
        low, high = self.mean.low, self.mean.high
        if low is None or high is None:
            return f"no verdict: {too_few(len(self.seeds))}"
        if high < 0:
            return "do not federate with it: tasks lose on average"
        if low <= 0:
            return "undecided: the interval holds 0; run more seeds, or leave it"
        if self.losing:
            return f"federate, but leave out {', '.join(self.losing)}"
        return "federate"


def gains(groups: Iterable[Group]) -> list[Gain]:
    """Every experiment against Local on the same data; none where Local was not run, shares no finished seed, or
    no task is labelled."""
    found = []
    for problem, together in by_problem(groups).items():
        alone = [group for group in together if class_name(group.runs[0].experiment["algorithm"]) == ALONE]
        for group in together:
            for baseline in peers(group, alone)[:1] if group not in alone else []:
                pairs = _pairs(group.runs, baseline.runs)
                if pairs:
                    found.append(_gain(problem, group, baseline, pairs))
    return [gain for gain in found if gain.tasks]


def gains_markdown(found: Sequence[Gain]) -> str:
    """A table of the gains and their verdicts, and a line for each task that loses."""
    head = "experiment|gain over Local|best task|worst task|tasks that lose|worst tenth of clients|verdict".split("|")
    lines = []
    for gain in found:
        ranked = sorted(gain.tasks, key=lambda task, gain=gain: gain.tasks[task].mean)
        best, worst = (f"{task} {_signed(gain.tasks[task])}" for task in (ranked[-1], ranked[0]))
        cells = [gain.name, _signed(gain.mean), best, worst]
        cells += [", ".join(gain.losing) or "none", _signed(gain.worst_tenth), gain.verdict]
        lines.append(cells)
    return table(head, lines, left=(0, 2, 3, 4, 6))


def _gain(problem: str, group: Group, baseline: Group, pairs: Sequence[tuple[Run, Run]]) -> Gain:
    def over_seeds(number: Callable[[Run], float]) -> Estimate:
        return estimate([number(one) - number(other) for one, other in pairs])

    metrics = {task: metric for task, metric in group.metrics.items() if task in baseline.metrics}
    differences = {task: over_seeds(lambda run, task=task: run.task_score(task)) for task in metrics}

    def relative(task: str, one: Run, alone: Run) -> float:
        reference = alone.value(task)
        sign = 1 if metrics[task].higher_is_better else -1
        return 100 * sign * (one.value(task) - reference) / abs(reference) if reference else nan

    labelled = {task: found for task, found in differences.items() if isfinite(found.mean)}
    changes = [relative(task, one, alone) for one, alone in pairs for task in labelled]
    return Gain(
        problem=problem,
        name=group.name,
        baseline=baseline.name,
        seeds=tuple(one.seed for one, _ in pairs),
        tasks=labelled,
        mean=paired_difference(group.runs, baseline.runs),
        relative=sum(changes) / len(changes) if changes else nan,  # (1)
        worst_tenth=over_seeds(lambda run: worst_tenth(run.client_scores().values())),
    )


def _pairs(runs: Sequence[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    ended = {run.seed: run for run in others if run.failure is None}
    return [(run, ended[run.seed]) for run in runs if run.failure is None and run.seed in ended]


def _signed(gain: Estimate | Difference) -> str:
    if not isfinite(gain.mean):
        return "–"

    def signed(number: float) -> str:
        return f"{number:+z.3f}".replace("-", "−")

    ends = "" if gain.low is None or gain.high is None else f" [{signed(gain.low)}, {signed(gain.high)}]"
    return f"{signed(gain.mean)}{ends}"
