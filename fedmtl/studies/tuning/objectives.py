"""Objectives of a tuning: the score, the score less a price of bytes, and costs beside the score."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedmtl.analysis.read import read_run
from fedmtl.analysis.report.pareto import non_dominated
from fedmtl.analysis.simulated import spent_at_end
from fedmtl.core.bounds import shown
from fedmtl.runs.experiment import Experiment
from fedmtl.studies.tuning.trials import DIVERGED, Trial
from fedmtl.timing.timing import UNTIMED

ALONE = ("score", "score-bytes")
"""Objectives that are one number."""

COSTS = ("bytes", "seconds", "joules")
"""Objectives beside the score, less is better: of all training, as in the fronts of a sweep."""


def costs_of(objective: str | Sequence[str], halving: bool) -> tuple[str, ...]:
    """Return the costs among the objectives, in their order; none where the objective is one number.

    Raises:
        ValueError: an unknown word, a word that stands twice, costs without the score or with ``score-bytes``, or
            several objectives with ``halving``.
    """
    words = (objective,) if isinstance(objective, str) else tuple(objective)
    for word in words:
        if word not in (*ALONE, *COSTS):
            raise ValueError(f"objective is one of {', '.join((*ALONE, *COSTS))}, got {shown(word)}.")
    if twice := [word for place, word in enumerate(words) if word in words[:place]]:
        raise ValueError(f"objective: {twice[0]} stands twice; each objective is given once.")
    if len(words) == 1 and words[0] in ALONE:
        return ()
    if "score" not in words or "score-bytes" in words:
        raise ValueError(
            f"objective: score and one or more of {', '.join(COSTS)} are searched together, got "
            f"{', '.join(words) or 'none'}; without the score, the cheapest run is one that learns nothing, and "
            "score-bytes has a price of bytes in it already."
        )
    if halving:
        raise ValueError(
            f"halving ends trials by one number early on, and {' and '.join(words)} give trials no order; leave "
            "halving out, or take one objective."
        )
    return tuple(word for word in words if word != "score")


def check_clock(costs: Sequence[str], experiment: Experiment) -> None:
    """Refuse seconds and joules of an experiment without a simulated clock.

    Raises:
        ValueError: it names the objective and the fields of a clock.
    """
    timed = [cost for cost in costs if cost != "bytes"]
    if timed and experiment.timing == UNTIMED:
        raise ValueError(
            f"objective: {timed[0]} are those of the simulated clock, and link={experiment.link!r} with devices="
            f'{experiment.devices!r} takes no time; set link, such as --set "link=LogNormal(down_mbps=20, up_mbps=5)", '
            f"or leave {timed[0]} out."
        )


def measure(trial: Trial, folder: Path, costs: Sequence[str]) -> dict[str, float]:
    """Return the costs of all training of a trial that has just ended; none where it diverged."""
    if not costs or trial.state == DIVERGED:
        return {}
    spent = spent_at_end(read_run(folder)) if set(costs) - {"bytes"} else None
    known: dict[str, float] = {"bytes": trial.bytes["up"] + trial.bytes["down"]}
    if spent is not None:
        known |= spent._asdict()
    return {cost: known.get(cost, math.nan) for cost in costs}


def single(trial: Trial, objective: str | Sequence[str], price: float) -> float:
    """Return the number by which trials of one objective are ranked, more is better; of several, the score."""
    if objective != "score-bytes" or not math.isfinite(trial.score):
        return trial.score
    return trial.score - price * math.log10(max(1, trial.to_best))


def vector(trial: Trial, rounds: int, costs: Sequence[str]) -> tuple[float, ...]:
    """Return a trial's objectives for a sampler, more is better.

    Of a cost, minus log(1 + cost): what Optuna weighs points of a front by is the volume that they dominate, in which
    a factor of bytes counts alike at any size.
    """
    own = (trial.costs.get(cost, math.nan) for cost in costs)
    return trial.objective(rounds), *(-math.log1p(cost) for cost in own)


def ranked(trials: Mapping[int, Trial], numbers: Sequence[int], rounds: int) -> list[int]:
    """By objective, the best first, of equal ones the earlier."""

    def worth(number: int) -> tuple[float, int]:
        value = trials[number].objective(rounds)
        return (-value if math.isfinite(value) else math.inf, number)

    return sorted(numbers, key=worth)


def front(trials: Sequence[Trial], costs: Sequence[str]) -> list[Trial]:
    """Return the trials that no other dominates in score and costs, by cost; a repetition of a trial is none."""
    some = [trial for trial in trials if trial.same_as is None and trial.costs]
    points = [(-trial.score, *(trial.costs[cost] for cost in costs)) for trial in some]
    best = [some[index] for index in non_dominated(points)]
    return sorted(best, key=lambda trial: (*(trial.costs[cost] for cost in costs), trial.number))
