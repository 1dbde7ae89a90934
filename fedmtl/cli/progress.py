"""Progress of runs on the terminal."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmtl.core import stopping
from fedmtl.core.terminal import say

if TYPE_CHECKING:  # torch is imported by the commands that need it, so that help and errors come at once
    from fedmtl.runs.experiment import Experiment
    from fedmtl.runs.progress import Progress
    from fedmtl.runs.result import Result


def watch(label: str, rounds: int) -> tuple[Callable[["Progress"], None], Callable[[], None]]:
    """A function that shows a run's progress, and one that ends it.

    Each measured round is a line. On a terminal a bar below the lines moves with every round, and goes at the end.
    """
    say(label, "  ")
    if not sys.stdout.isatty():
        return lambda progress: _say_measured(progress) if progress.measured else None, lambda: None
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    # Narrow, or on 80 columns rich leaves out the bar and the count.
    shown = BarColumn(10), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[state]}", markup=False)
    bar = Bar(*shown, transient=True)
    task = bar.add_task(label, total=rounds, state="starting")
    bar.start()
    stopping.clean_up(CLEAR)

    def show(progress: "Progress") -> None:
        if progress.measured:
            _say_measured(progress)  # while the bar is on, what is printed goes above it
        bar.update(task, completed=min(progress.round, rounds), state=describe(progress, short=True))

    def stop() -> None:
        bar.stop()
        stopping.clean_up("")

    return show, stop


CLEAR = "\r\x1b[2K\x1b[?25h"
"""Removes the bar's line from the terminal, and brings the cursor back."""


def _say_measured(progress: "Progress") -> None:
    say(f"  {describe(progress)}", "    ")


def describe(progress: "Progress", short: bool = False) -> str:
    """Round, accuracy and bytes. The score is that of the model before this round, which this round measured.

    Of a round that measured no model it says its training loss, or that it measured none.
    """
    from fedmtl.analysis.numbers import human_bytes

    up, down = human_bytes(progress.bytes_up), human_bytes(progress.bytes_down)
    left_out = len(progress.problems)
    if short:
        words = progress.score_text.split(" ")
        score = "not measured" if words[0] == "not" else " ".join(words[1:])  # score 0.5, loss 0.5
        return f"{score}  up {up}  down {down}" + (f"  {left_out} left out" if left_out else "")
    text = f"{progress.score_text}  up {up}  down {down}"
    if left_out:
        text += f"  clients left out: {left_out}"
    return f"{progress.where}  {text}"


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
    from fedmtl.run_experiment import run as run_experiment

    show, stop = watch(label, experiment.rounds)

    def on_round(progress: "Progress") -> None:
        stopping.reached("at the end" if progress.ended else f"{which}after round {progress.round}")
        show(progress)

    stopping.reached(f"{which}before a round was done")
    try:
        return run_experiment(
            experiment, out, resume=resume, restart_clients=restart, on_round=on_round, callbacks=callbacks
        )
    finally:
        stop()
