"""Runs that are to be done, and what becomes known of them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedmtl.run_failure import Failure

if TYPE_CHECKING:  # torch is imported by the processes that train
    from fedmtl.experiment import Experiment
    from fedmtl.results import Progress


@dataclass(frozen=True)
class Task:
    """A run that is to be done; one that is finished in its folder is not repeated, and one that was ended goes on."""

    experiment: "Experiment"
    name: str
    """For the terminal: the folder's name in its comparison."""
    folder: Path


@dataclass(frozen=True)
class Event:
    """A run began, did a round, or ended."""

    task: int
    """Its place among all tasks."""
    kind: Literal["began", "round", "ended"]
    progress: "Progress | None" = None
    """Of a round."""
    failure: Failure | None = None
    """Of a run that ended by an error, or whose process did."""


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
