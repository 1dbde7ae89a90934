"""Runs one after the other, in this process."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fedmtl.runs.run_failure import Failure, failure_of
from fedmtl.studies.base import Event, StudyTask

if TYPE_CHECKING:
    from fedmtl.runs.progress import Progress


class _OfTheCaller(BaseException):
    """An error of the caller's own function, which is no failure of the run that it watches."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def run_task(task: StudyTask, on_event: Callable[[Event], None]) -> Failure | None:
    """Do a run in a process that is for runs beside others.

    Args:
        task: the run.
        on_event: called with its rounds.

    Returns:
        The failure, where an error ended it.
    """
    (failure,) = run_here([task], lambda event: on_event(event) if event.kind == "round" else None, in_process=True)
    return failure


def run_here(
    tasks: Sequence[StudyTask], on_event: Callable[[Event], None], in_process: bool = False
) -> list[Failure | None]:
    """Do all runs; an error ends its run and no other.

    Args:
        tasks: in their order.
        on_event: called with what happens.
        in_process: as for ``run``.

    Returns:
        The failure of each run that an error ended, else None.
    """
    from fedmtl.run_experiment import run  # torch is imported when the first run is near

    failures: list[Failure | None] = []
    for index, task in enumerate(tasks):
        done = 0

        def on_round(progress: "Progress", index: int = index) -> None:
            nonlocal done
            done = min(progress.round, progress.rounds)
            try:
                on_event(Event(index, "round", progress=progress))
            except Exception as error:
                raise _OfTheCaller(error) from error

        on_event(Event(index, "began"))
        failure = None
        try:
            run(task.experiment, task.folder, resume=True, on_round=on_round, in_process=in_process)
        except _OfTheCaller as through:
            raise through.error from None
        except Exception as error:  # of whatever type a user's component raises
            failure = failure_of(error, done)
        failures.append(failure)
        on_event(Event(index, "ended", failure=failure))
    return failures
