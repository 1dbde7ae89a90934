"""Tunings of several methods at a time, each in a process of its own.

A trial follows from those before it, so that the trials of one method stay one after the other, and what is chosen is
the same for any number of processes. Each leaves its trials in its folder: who calls ``tune`` there afterwards has its
result at once, does what a process that was killed has left, or gets the error that ended it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.run_failure import Failure, failure_of
from fedmtl.runs.run_lock import hold
from fedmtl.studies import Event, Pool
from fedmtl.studies.tuning.alike import Method
from fedmtl.studies.tuning.spaces import Space
from fedmtl.studies.tuning.trials import Trial
from fedmtl.studies.tuning.tune import Tuning, tune


@dataclass(frozen=True)
class Study:
    """One method's tuning; arguments as for ``tune``."""

    name: str
    folder: Path
    experiment: Experiment
    space: Space
    settings: Tuning
    local: bool = False
    allowed: Allowed = NOTHING
    is_run: ClassVar[bool] = False


def studies_of(
    methods: Sequence[Method], out: Path, settings: Tuning, *, local: bool = False, allowed: Allowed = NOTHING
) -> list[Study]:
    """Return the tunings that ``tune_alike`` does with these arguments."""
    return [
        Study(method.name, out / method.name, method.experiment, method.space, settings, local, allowed)
        for method in methods
        if method.space
    ]


def tune_side_by_side(
    studies: Sequence[Study], pool: Pool, on_trial: Callable[[str, Trial], None]
) -> list[Failure | None]:
    """Do tunings in the processes of a pool.

    Args:
        studies: begun in their order.
        pool: its number of processes is how many are done at a time.
        on_trial: called with the name of a study and a trial that is done.

    Returns:
        The failure of each study that did not come to its end, else None.

    Raises:
        ValueError: as for ``Pool.run``.
    """

    def on_event(event: Event) -> None:
        if event.kind == "trial":
            on_trial(studies[event.task].name, event.trial)

    return pool.run(studies, on_event, _tune)


def _tune(study: Study, on_event: Callable[[Event], None]) -> Failure | None:
    """Do a tuning in a process that is for runs beside others."""

    def on_trial(trial: Any) -> None:
        on_event(Event(0, "trial", trial=trial))

    try:
        with hold(study.folder.resolve()):
            tune(
                study.experiment,
                study.folder,
                study.space,
                study.settings,
                local=study.local,
                allowed=study.allowed,
                on_trial=on_trial,
                in_process=True,
            )
    except Exception as error:  # of whatever type a user's component raises
        return failure_of(error, 0)
    return None
