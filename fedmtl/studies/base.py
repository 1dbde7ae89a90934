"""Work that is to be done in processes, and what becomes known of it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from fedmtl.runs.run_failure import Failure

if TYPE_CHECKING:  # torch is imported by the processes that train
    from fedmtl.runs.experiment import Experiment
    from fedmtl.runs.progress import Progress


class Work(Protocol):
    """Task of a process of a pool: a run, or the tuning of an experiment."""

    @property
    def experiment(self) -> "Experiment": ...

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    is_run: ClassVar[bool]
    """True where the folder is a run's."""


@dataclass(frozen=True)
class StudyTask:
    """A run that is to be done; one that is finished in its folder is not repeated, and one that was ended goes on."""

    experiment: "Experiment"
    name: str
    """For the terminal: the folder's name in its comparison."""
    folder: Path
    is_run: ClassVar[bool] = True


@dataclass(frozen=True)
class Event:
    """A run began, did a round, or ended; a tuning began, did a trial, or ended."""

    task: int
    """Its place among all tasks."""
    kind: Literal["began", "round", "trial", "ended"]
    progress: "Progress | None" = None
    """Progress of a round."""
    failure: Failure | None = None
    """Failure of a run or a tuning that ended by an error, or whose process did."""
    trial: Any = None
    """The ``tuning.Trial`` of a tuning that is done."""


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
