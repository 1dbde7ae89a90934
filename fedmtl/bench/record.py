"""Output of a system's script, and the command line that all of them share."""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from fedmtl.bench.data import read_workload, write_data
from fedmtl.bench.memory import PeakMemory
from fedmtl.bench.workloads import WORKLOADS, Workload


class BenchTask(NamedTuple):
    """Request to a system."""

    workload: Workload
    folder: Path
    """Folder of its data, as ``fedmtl.bench.data`` reads it."""
    workers: int
    compile: bool
    """True where fedmtl may compile what runs for long."""


class BenchResult(NamedTuple):
    """Measurements of a system's run."""

    ends: Sequence[float]
    """``time.perf_counter()`` at the end of each round."""
    trunk: NDArray[np.float32]
    """The shared parameters after the last round, as one vector in the model's order."""
    train_loss: Sequence[float] = ()
    """Mean over a round's steps of the loss of the batch before the step, in nats, for each round."""
    accuracy: float | None = None
    """Mean over the tested clients' test examples, of the last trunk with each client's own head."""
    phases: Mapping[str, float] = {}
    """Seconds a round by phase: a mean over the whole run, what the first and the last round measure included."""


@dataclass(frozen=True)
class BenchRecord:
    """One run of one system; the line of JSON that its script prints last."""

    system: str
    workload: str
    cohort: int
    first_seconds: float
    """From the start of the process to the end of the first round."""
    round_seconds: list[float]
    """Each later round."""
    pss: int
    """Peak bytes of the process and its descendants, shared pages counted once."""
    rss: int
    """The same, shared pages counted in each."""
    train_loss: list[float] = field(default_factory=list)
    accuracy: float | None = None
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Clients a second in the median round."""
        return self.cohort / statistics.median(self.round_seconds)

    @property
    def last_rate(self) -> float:
        """The same over the last tenth of the rounds, at least one: after all that a long run warms up for."""
        return self.cohort / statistics.median(self.round_seconds[-max(1, len(self.round_seconds) // 10) :])


def to_line(record: BenchRecord) -> str:
    return json.dumps(asdict(record))


def from_line(line: str) -> BenchRecord:
    """The record that ``to_line`` wrote."""
    return BenchRecord(**json.loads(line))


def process_age() -> float:
    """Seconds since this process started; since this module was imported where there is no /proc."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return time.perf_counter() - _IMPORTED
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


_IMPORTED = time.perf_counter()


def run_script(system: str, run: Callable[[BenchTask], BenchResult]) -> None:
    """The command line of a system: run it, and print its record."""

    def main(
        workload: Annotated[str, typer.Argument(help="W1, W2, or a folder of data that fedmtl bench wrote.")] = "W2",
        rounds: Annotated[int | None, typer.Option(help="Rounds; the first is not timed.")] = None,
        workers: Annotated[int, typer.Option(help="Processes that train, where the system has them.")] = 2,
        compile: Annotated[bool, typer.Option("--compile", help="fedmtl compiles what runs for long.")] = False,
        trunk: Annotated[Path | None, typer.Option(help="Where to save the trunk, as .npy.")] = None,
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="fedmtl-bench-") as temporary:
            folder = Path(temporary) if workload in WORKLOADS else Path(workload)
            if workload in WORKLOADS:
                write_data(WORKLOADS[workload], folder)
            work = read_workload(folder)
            work = work if rounds is None else replace(work, rounds=rounds)
            with PeakMemory() as memory:
                measured = run(BenchTask(work, folder, workers, compile))
                started = time.perf_counter() - process_age()
        if trunk is not None:
            np.save(trunk, measured.trunk)
        record = BenchRecord(
            system=system,
            workload=work.name,
            cohort=work.cohort,
            first_seconds=measured.ends[0] - started,
            round_seconds=np.diff(measured.ends).tolist(),
            pss=memory.pss,
            rss=memory.rss,
            train_loss=list(measured.train_loss),
            accuracy=measured.accuracy,
            phases=dict(measured.phases),
        )
        print(to_line(record), flush=True)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
