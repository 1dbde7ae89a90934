"""Should I federate? What each task gains over learning alone, and who loses.

For task t with metric M_t, s_t = +1 where higher is better and −1 where lower is, and Local's M⁰_t of the same seed,

    Δ_t = 100 s_t (M_t − M⁰_t) / |M⁰_t|            per cent                                                     (1)
    Δm  = mean over tasks of Δ_t                                                                               (2)

    Maninis, Radosavovic, Kokkinos. CVPR 2019, equation 4. arXiv:1904.08918

Intervals are paired over seeds, as in ``differences``. A task whose whole interval lies below 0 loses: negative
transfer.
"""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite, nan
from typing import NamedTuple

from fedmtl.study.differences import Interval, interval, peers
from fedmtl.study.groups import Group, by_problem
from fedmtl.study.names import class_name
from fedmtl.study.run import Run
from fedmtl.tasks.worst import worst_tenth

ALONE = "Local"


class Gain(NamedTuple):
    """One experiment held against Local."""

    problem: str
    name: str
    """Of the group, as in ``Group``."""
    baseline: str
    """Of Local's group."""
    seeds: tuple[int, ...]
    """That both have finished."""
    tasks: dict[str, Interval]
    """Task -> Δ_t, (1)."""
    mean: Interval
    """Δm, (2)."""
    worst_tenth: Interval
    """Mean score of the tenth of clients that fares worst (``worst_tenth``), minus the same of Local; not the same
    clients."""

    @property
    def losing(self) -> list[str]:
        """Tasks that are worse off than alone, the worst first."""
        lost = [task for task, gain in self.tasks.items() if gain.high is not None and gain.high < 0]
        return sorted(lost, key=lambda task: self.tasks[task].mean)

    @property
    def verdict(self) -> str:
        """What to do."""
        low, high = self.mean.low, self.mean.high
        if not isfinite(self.mean.mean):
            return "no verdict: one of them diverged, or Local's metric is 0"
        if low is None or high is None:
            return "no verdict: one seed gives no interval; run more"
        if high < 0:
            return "do not federate with it: tasks lose on average"
        if low <= 0:
            return "undecided: the interval holds 0; run more seeds, or leave it"
        if self.losing:
            return f"federate, but leave out {', '.join(self.losing)}"
        return "federate"


def gains(groups: Iterable[Group]) -> list[Gain]:
    """Every experiment against Local on the same data; none where Local was not run, or shares no finished seed."""
    found = []
    for problem, together in by_problem(groups).items():
        alone = [group for group in together if class_name(group.runs[0].experiment["algorithm"]) == ALONE]
        for group in together:
            for baseline in peers(group, alone)[:1] if group not in alone else []:
                pairs = _pairs(group.runs, baseline.runs)
                if pairs:
                    found.append(_gain(problem, group, baseline, pairs))
    return found


def gains_markdown(found: Sequence[Gain]) -> str:
    """A table of the gains and their verdicts, and a line for each task that loses."""
    lines = [
        "| experiment | Δm over Local | best task | worst task | tasks that lose | worst tenth of clients | verdict |"
    ]
    lines.append("|---|---:|---|---|---|---:|---|")
    for gain in found:
        ranked = sorted(gain.tasks, key=lambda task, gain=gain: gain.tasks[task].mean)
        best, worst = (f"{task} {_signed(gain.tasks[task], ' %', 1)}" for task in (ranked[-1], ranked[0]))
        cells = [gain.name.replace("|", "\\|"), _signed(gain.mean, " %", 1), best, worst]
        cells += [", ".join(gain.losing) or "none", _signed(gain.worst_tenth, "", 3), gain.verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _gain(problem: str, group: Group, baseline: Group, pairs: Sequence[tuple[Run, Run]]) -> Gain:
    def over_seeds(number: Callable[[Run, Run], float]) -> Interval:
        return interval([number(one, other) for one, other in pairs])

    def worst(run: Run) -> float:
        return worst_tenth(run.client_scores().values())

    metrics = {task: metric for task, metric in group.metrics.items() if task in baseline.metrics}

    def relative(task: str, one: Run, alone: Run) -> float:
        reference = alone.value(task)
        sign = 1 if metrics[task].higher_is_better else -1
        return 100 * sign * (one.value(task) - reference) / abs(reference) if reference else nan  # (1)

    return Gain(
        problem=problem,
        name=group.name,
        baseline=baseline.name,
        seeds=tuple(one.seed for one, _ in pairs),
        tasks={t: over_seeds(lambda one, alone, t=t: relative(t, one, alone)) for t in metrics},
        mean=over_seeds(lambda one, alone: sum(relative(t, one, alone) for t in metrics) / len(metrics)),  # (2)
        worst_tenth=over_seeds(lambda one, alone: worst(one) - worst(alone)),
    )


def _pairs(runs: Sequence[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    ended = {run.seed: run for run in others if run.finished}
    return [(run, ended[run.seed]) for run in runs if run.finished and run.seed in ended]


def _signed(gain: Interval, unit: str, decimals: int) -> str:
    if not isfinite(gain.mean):
        return "–"

    def signed(number: float) -> str:
        return f"{number:+z.{decimals}f}".replace("-", "−")

    ends = "" if gain.low is None or gain.high is None else f" [{signed(gain.low)}, {signed(gain.high)}]"
    return f"{signed(gain.mean)}{unit}{ends}"
