"""Progress of runs on the terminal."""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmtl import stopping
from fedmtl.cli.terminal import say

if TYPE_CHECKING:  # torch is imported by the commands that need it, so that help and errors come at once
    from fedmtl.experiment import Experiment
    from fedmtl.results import Progress, Result


def watch(label: str, rounds: int) -> tuple[Callable[["Progress"], None], Callable[[], None]]:
    """What shows a run's progress, and what ends it: a live line on a terminal, elsewhere a line a measured round."""
    say(label, "  ")
    if not sys.stdout.isatty():
        return lambda progress: say(f"  {describe(progress)}", "    ") if progress.measured else None, lambda: None
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    # Narrow, or on 80 columns rich leaves out the bar and the count.
    columns = BarColumn(10), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[state]}")
    bar = Bar(*columns)
    task = bar.add_task(label, total=rounds, state="starting")
    bar.start()

    def show(progress: "Progress") -> None:
        bar.update(task, completed=min(progress.round, rounds), state=describe(progress, short=True))

    return show, bar.stop


def describe(progress: "Progress", short: bool = False) -> str:
    """Round, accuracy and bytes. The score is that of the model before this round, which this round measured.

    Of a round that measured no model it says so, and not the score of an earlier one.
    """
    from fedmtl.study.table import human_bytes

    up, down = human_bytes(progress.bytes_up), human_bytes(progress.bytes_down)
    left_out = len(progress.problems)
    if short:
        score = f"score {_score(progress)}" if progress.measured else "not measured"
        return f"{score}  up {up}  down {down}" + (f"  {left_out} left out" if left_out else "")
    what = "validation score" if progress.part == "valid" else "mean score"
    score = f"{what} {_score(progress)}" if progress.measured else "not measured yet"
    text = f"{score}  up {up}  down {down}"
    if left_out:
        text += f"  clients left out: {left_out}"
    last = progress.round > progress.rounds
    where = "last model" if last else f"round {progress.round}/{progress.rounds}"
    where = f"test, model of round {progress.round}" if progress.tests else where
    return f"{where}  {text}"


def _score(progress: "Progress") -> str:
    return f"{progress.mean_score:.4f}" if math.isfinite(progress.mean_score) else "–"


def run_one(
    experiment: "Experiment",
    label: str,
    out: Path | None,
    resume: bool,
    which: str = "",
    restart: bool = False,
    callbacks: Sequence[Any] = (),
) -> "Result":
    """Run with progress shown; ``which`` says what is stopped by a signal, where there are several."""
    from fedmtl.running import run as run_experiment

    show, stop = watch(label, experiment.rounds)

    def on_round(progress: "Progress") -> None:
        ended = progress.tests or progress.round > progress.rounds
        stopping.reached("at the end" if ended else f"{which}after round {progress.round}")
        show(progress)

    stopping.reached(f"{which}before a round was done")
    try:
        return run_experiment(
            experiment, out, resume=resume, restart_clients=restart, on_round=on_round, callbacks=callbacks
        )
    finally:
        stop()
