"""Divergence of a run, by its rows over all clients."""

from collections.abc import Mapping
from itertools import takewhile
from math import isfinite

from fedmtl.analysis.curve import number
from fedmtl.analysis.pooled_rows import TaskRows
from fedmtl.runs.run_failure import Failure

EXPLODED = -9.0
"""The score of a task at and below which a model that was better untrained has exploded: its squared error is ten times
that of the best constant. Accuracies have no such score."""


def failure_of(
    finished: bool,
    noted: Failure | None,
    pooled: Mapping[int, TaskRows],
    final: tuple[int | None, TaskRows],
    done: int,
) -> Failure | None:
    """Return the reason why a run is no sample of its experiment's result; None of one that is.

    A run has *diverged* when an error ended it because no number of any update was finite; when the metric of a
    labelled task of its result is not finite; or when the score of a labelled task of its result is ``EXPLODED`` or
    less, and less than at round 0. The round is the first from which on that is so, until the result's.

    Args:
        finished: whether the run came to its end.
        noted: the failure that it left in its folder.
        pooled: evaluated round, ascending -> rows over all clients.
        final: the round of the result, and its rows.
        done: the last round of which anything was written.
    """
    if not finished and noted is not None and noted.state == "diverged":
        return noted
    initial = pooled.get(0, {})
    if reason := _divergence(final[1], initial):
        first = final[0] or 0
        earlier = [round for round in list(pooled)[::-1] if round <= first]
        first = min([first, *takewhile(lambda round: _divergence(pooled[round], initial), earlier)])
        return Failure("diverged", first, reason)
    return None if finished else noted or Failure("unfinished", done, "it was ended, or goes on")


def _divergence(tasks: TaskRows, initial: TaskRows) -> str:
    """The reason why rows over all clients are those of a diverged model; empty where they are not.

    Args:
        tasks: task -> its row.
        initial: the same at round 0.
    """
    for task, row in sorted(tasks.items()):
        if not row["examples"]:
            continue
        if not isfinite(number(row["value"])) or not isfinite(number(row["score"])):
            return f"{row['metric']} of task {task} is not finite"
        untrained = number(initial.get(task, {}).get("score"))
        if row["score"] <= EXPLODED and not row["score"] >= untrained:
            return f"the score of task {task} is {row['score']:.4g}, and was {untrained:.4g} at round 0"
    return ""
