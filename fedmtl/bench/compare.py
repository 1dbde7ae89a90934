"""Ratios of speeds, and whether the work was the same."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.bench.turns import Runs
from fedmtl.bench.workloads import Workload

TRUNK = 0.01
"""Largest distance of two trunks of the same batches, as a part of the way that the loop's went, both as Euclidean
norms. Rounding gives 1e-5 to 1e-3 in ten rounds, as ReLUs and pooling let it grow; a step of 40 left out gives 0.02."""
GROWN = 20
"""Rounds after which rounding may have grown to anything, and accuracies alone are compared."""
ACCURACY = 0.02
"""Largest distance that is accepted."""
LOSS = 0.05
"""Largest difference of mean training losses, in nats, where cohorts differ. A cohort's mean has a standard error of
about 0.01; a round not trained makes a difference of about 0.1."""


@dataclass(frozen=True)
class ComparedSystem:
    """One system on one workload: medians over turns."""

    system: str
    rate: float
    """Clients a second."""
    times: float
    """Speed-up of fedmtl: the median over turns of the ratio within the turn."""
    least: float
    most: float
    """Range of those ratios."""
    round_ms: float
    first_seconds: float
    pss: int
    rss: int
    equal: bool | None
    """True where it did the same work as the loop; None for the loop."""
    evidence: str


def compare(workload: Workload, runs: Sequence[Runs], initial: NDArray[np.float32]) -> list[ComparedSystem]:
    """A line for each system.

    Args:
        workload: what they ran.
        runs: fedmtl's first, then the loop's, then those of others; equally many records each.
        initial: the trunk before the first round.
    """
    ours, loop = runs[0], runs[1]
    lines = []
    for run in runs:
        ratios = [a.rate / b.rate for a, b in zip(ours.records, run.records, strict=True)]
        equal, evidence = None, ""
        if run is ours:
            equal, evidence = same_trunk(run, loop, initial)
        elif run is not loop:
            equal, evidence = same_loss(run, loop)
        rate = statistics.median(record.rate for record in run.records)
        lines.append(
            ComparedSystem(
                system=run.system.name,
                rate=rate,
                times=statistics.median(ratios),
                least=min(ratios),
                most=max(ratios),
                round_ms=1000 * workload.cohort / rate,
                first_seconds=statistics.median(record.first_seconds for record in run.records),
                pss=max(record.pss for record in run.records),
                rss=max(record.rss for record in run.records),
                equal=equal,
                evidence=evidence,
            )
        )
    return lines


def same_trunk(run: Runs, loop: Runs, initial: NDArray[np.float32]) -> tuple[bool, str]:
    """For a run with the loop's cohorts and batches: the trunks' distance, and accuracies."""
    apart = float(np.linalg.norm(run.trunk - loop.trunk) / np.linalg.norm(loop.trunk - initial))
    ours, theirs = (runs.records[0].accuracy or 0.0 for runs in (run, loop))
    rounds = len(run.records[0].round_seconds) + 1
    text = f"after {rounds} rounds its trunk is where the loop's is, to {apart:.0e} of the way"
    near = apart <= TRUNK or (rounds > GROWN and apart < 1)
    # NaN is neither.
    return near and abs(ours - theirs) <= ACCURACY, f"{text}; accuracy {ours:.3f}, the loop's {theirs:.3f}"


def same_loss(run: Runs, loop: Runs) -> tuple[bool, str]:
    """For a run with cohorts of its own: the mean training loss of the last round that both have."""
    round = min(len(run.records[0].train_loss), len(loop.records[0].train_loss))
    if round == 0:
        return False, "no training loss"
    theirs, known = (runs.records[0].train_loss[round - 1] for runs in (run, loop))
    return abs(theirs - known) <= LOSS, f"training loss of round {round} {theirs:.3f}, the loop's {known:.3f}"


def phases(runs: Runs) -> dict[str, float]:
    """Phase -> milliseconds a round, the median over turns of each run's mean; phases that took none are left out."""
    names = dict.fromkeys(name for record in runs.records for name in record.phases)
    spent = {name: statistics.median(1000 * record.phases.get(name, 0.0) for record in runs.records) for name in names}
    return {name: value for name, value in spent.items() if value > 0}


def last_rounds(runs: Sequence[Runs]) -> str:
    """A line on the end of fedmtl's run, where it is long enough to have one; else nothing."""
    ours, loop = runs[0], runs[1]
    if len(ours.records[0].round_seconds) < GROWN:
        return ""
    rate = statistics.median(record.last_rate for record in ours.records)
    times = statistics.median(a.last_rate / b.rate for a, b in zip(ours.records, loop.records, strict=True))
    return f"In the last tenth of its rounds fedmtl trains {rate:,.0f} clients/s, {times:.1f}× the loop.\n"


def as_dict(runs: Runs, line: ComparedSystem) -> dict[str, Any]:
    """Entry of one system in the JSON file."""
    return {**asdict(line), "workers": runs.system.workers, "runs": [asdict(record) for record in runs.records]}
