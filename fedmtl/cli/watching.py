"""The progress of a comparison on the terminal, and how long it will yet take."""

import sys
import time
from collections.abc import Callable, Sequence

from fedmtl.cli.progress import describe, watch
from fedmtl.core import stopping
from fedmtl.core.terminal import say
from fedmtl.studies import Event, StudyTask


class ComparisonWatch:
    """Shows what happens to runs: each round of one at a time, and the ends of several side by side.

    Args:
        tasks: all runs.
        jobs: how many at a time.
    """

    def __init__(self, tasks: Sequence[StudyTask], jobs: int) -> None:
        self._tasks = tasks
        self._jobs = jobs
        self._rounds = [0] * len(tasks)
        """Rounds of each run that were done here, or are done with."""
        self._done = 0
        self._worked = 0
        """Rounds that were done here, without those that a run had before."""
        self._begin = time.monotonic()
        self._show: Callable[..., None] = lambda progress: None
        self._stop: Callable[[], None] = lambda: None
        self._seen: dict[int, str] = {}
        if jobs > 1:
            stopping.reached(self._so_far())

    def __call__(self, event: Event) -> None:
        task = self._tasks[event.task]
        label = f"[{event.task + 1}/{len(self._tasks)}] {task.name}"
        if event.kind == "round" and event.progress is not None:
            self._rounds[event.task] = min(event.progress.round, event.progress.rounds)
            self._worked += 1
        if event.kind == "ended":
            self._rounds[event.task] = task.experiment.rounds
            self._done += 1
        if self._jobs > 1:
            self._several(event, label)
        else:
            self._one(event, label)

    def close(self) -> None:
        """Remove the bar of a run that goes on."""
        self._stop()
        self._stop = lambda: None

    def _one(self, event: Event, label: str) -> None:
        which = f"in run {event.task + 1} of {len(self._tasks)}, {self._tasks[event.task].name}, "
        if event.kind == "began":
            stopping.reached(f"{which}before a round was done")
            self._show, self._stop = watch(label, self._tasks[event.task].experiment.rounds)
        elif event.progress is not None:
            done = f"{which}after round {event.progress.round}"
            stopping.reached("at the end" if event.progress.ended else done)
            self._show(event.progress)
        else:
            self.close()
            if event.failure is not None:
                say(f"  {event.failure.state}: {event.failure.reason}", "    ")
            if left := self._left():
                say(f"  {left}", "    ")

    def _several(self, event: Event, label: str) -> None:
        if event.kind == "round" and event.progress is not None:
            self._seen[event.task] = describe(event.progress, short=True)
            return
        if event.kind == "began":
            say(f"{label}  begins", "  ")
            return
        stopping.reached(self._so_far())
        failure = event.failure
        text = (
            self._seen.pop(event.task, "was done before") if failure is None else f"{failure.state}: {failure.reason}"
        )
        say(f"{label}  {text}", "  ")
        if left := self._left():
            say(f"  {left}", "    ")
        sys.stdout.flush()

    def _so_far(self) -> str:
        return f"with {self._done} of {len(self._tasks)} runs done"

    def _left(self) -> str:
        """The time that the rounds that are left will take, by those that were done."""
        left = sum(task.experiment.rounds for task in self._tasks) - sum(self._rounds)
        if not self._worked or not left:
            return ""
        runs = len(self._tasks) - self._done
        seconds = (time.monotonic() - self._begin) / self._worked * left
        return f"about {in_words(seconds)} left for {runs} run{'s' * (runs > 1)}"


def in_words(seconds: float) -> str:
    """A span of time in two digits: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
