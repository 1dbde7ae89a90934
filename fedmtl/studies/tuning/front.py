"""Files of a search for several objectives: its front as a table and as presets, and a picture of all trials."""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from fedmtl.analysis.fronts import COLUMNS
from fedmtl.analysis.numbers import human_bytes, human_number
from fedmtl.analysis.report.numbers import to_csv
from fedmtl.analysis.report.tables import ReportTable, files
from fedmtl.core.files import Folder
from fedmtl.core.markdown import table
from fedmtl.runs.run_folder import read_manifest
from fedmtl.studies.tuning.trials import Trial

FOLDER = "front"
"""Folder of the presets."""


def front_files(
    front: Sequence[Trial], trials: Sequence[Trial], costs: Sequence[str], presets: Mapping[int, str]
) -> dict[str, bytes]:
    """Return ``front`` as Markdown, CSV and LaTeX, a preset for each trial on it, and the picture of all trials.

    Args:
        front: trials that no other dominates, at least one.
        trials: all.
        costs: objectives beside the score.
        presets: number of a trial on the front -> its preset.
    """
    from fedmtl.analysis.report.trials import TrialPoint, trial_picture  # matplotlib takes a second to import

    objectives = f"{', '.join(['score', *costs[:-1]])} and {costs[-1]}"
    fields = list(front[0].values)
    rows = [
        [f"{one.number}", *map(str, one.values.values()), f"{one.score:.4f}", *human_costs(one), f"{one.best_round}"]
        for one in front
    ]
    head = ["trial", *fields, "validation score", *costs, "round"]
    text = (
        f"{table(head, rows, left=range(1 + len(fields)))}\n"
        f"{len(front)} of {len(trials)} trials: no other is as good in {objectives}, and better in one. "
        "Scores are of validation parts after the best round, costs of all training, on one seed; fedmtl sweep "
        f"{FOLDER}/*.toml runs them over seeds, on test parts, for intervals.\n"
    )
    records: list[dict[str, Any]] = [
        {"trial": trial.number, **trial.values, "score": trial.score, **own, "best_round": trial.best_round}
        for trial in front
        for own in [{COLUMNS[cost]: value for cost, value in trial.costs.items()}]
    ]
    numbers = {trial.number for trial in front}
    points = [
        TrialPoint(f"{one.number}", one.score, tuple(one.costs[cost] for cost in costs), one.number in numbers)
        for one in trials
        if one.same_as is None and one.costs and isfinite(one.score)
    ]
    picture = trial_picture(points, costs)
    caption = "Trials that no other dominates, on validation parts."
    found = files("front", [ReportTable(caption, text)], to_csv(records))
    found |= {preset_name(number): preset.encode() for number, preset in presets.items()}
    return found | ({} if picture is None else picture.files())


def preset_name(number: int) -> str:
    """File of a trial on the front, in the tuning's folder."""
    return f"{FOLDER}/trial-{number:03d}.toml"


def human_costs(trial: Trial) -> list[str]:
    """A trial's costs as texts, in their order."""
    units = {"seconds": " s", "joules": " J"}
    return [
        human_bytes(value) if cost == "bytes" else f"{human_number(value)}{units[cost]}"
        for cost, value in trial.costs.items()
    ]


def remove_dominated(out: Path, files: Mapping[str, bytes]) -> None:
    """Delete presets that a front of fewer trials had, and that are none of the files to be written."""
    manifest = read_manifest(out)
    for name in () if manifest is None else manifest.files:
        if re.fullmatch(rf"{FOLDER}/trial-\d+\.toml", name) and name not in files:
            Folder(out).remove(name)
