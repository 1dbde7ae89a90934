"""Files of a tuning in its folder: settings and trials so far, a table of the trials, and the tuned preset."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from fedmtl.analysis.fronts import COLUMNS
from fedmtl.core.bounds import shown
from fedmtl.core.files import Folder
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import ELSEWHERE, without
from fedmtl.runs.run_folder import write_outputs
from fedmtl.studies.tuning.spaces import Range, Space
from fedmtl.studies.tuning.trials import Trial, trial_of

RECORD = "tuning.json"
"""Settings and trials so far: a tuning that was ended goes on from there."""


def identity(pilot: Experiment, space: Space, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that decide about trials; the number of trials may grow, but where it decides how many go on."""
    values = {path: vars(one) if isinstance(one, Range) else list(map(repr, one)) for path, one in space.items()}
    found = {**settings, "space": values, "experiment": pilot.result_settings}
    if not settings["halving"]:
        del found["trials"]
    return found


class TrialRecord:
    """The trials that are done, in the folder's record."""

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        self._out, self._identity = out, dict(identity)
        self.trials: dict[int, Trial] = {}
        if not Folder(out).exists(RECORD):
            return
        try:
            found = json.loads(Folder(out).read(RECORD))
            before, trials = found["settings"], [trial_of(values) for values in found["trials"]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = f"{type(error).__name__}: {str(error)[:100]}"
            raise ValueError(f"{str(out / RECORD)!r} is damaged ({why}); give another folder (--out).") from None
        for key, value in json.loads(json.dumps(self._identity)).items():
            if before.get(key) != value:
                raise ValueError(
                    f"{str(out)!r} holds a tuning with {key} = {shown(before.get(key))}, got {shown(value)}: a tuning "
                    "goes on with the settings that it began with; give another folder (--out) for others."
                )
        self.trials = {trial.number: trial for trial in trials}

    def add(self, trial: Trial) -> None:
        """Keep a trial, on disk before this returns."""
        self.trials[trial.number] = trial
        write_outputs(self._out, {RECORD: self.text()})

    def text(self, best: Mapping[str, Any] | None = None) -> bytes:
        """The record; with ``best``, of a tuning that is done."""
        found: dict[str, Any] = {"settings": self._identity}
        if best is not None:
            found["best"] = dict(best)
        found["trials"] = [trial.as_dict() for _, trial in sorted(self.trials.items())]
        return json.dumps(found, indent=1).encode()


def table(
    trials: Sequence[Trial], space: Space, rungs: Sequence[int], costs: Sequence[str], front: Sequence[Trial]
) -> str:
    """CSV of the trials, a line each.

    Args:
        costs: objectives beside the score, each a column, and with any a column that marks the front; none: a column of
            the objective after each of the rungs.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    sent = ("up", "down", "evaluation")
    objective = [COLUMNS[cost] for cost in costs] or [f"objective_{r}" for r in rungs]
    writer.writerow(
        ["trial", "state", "same_as", "rounds", "best_round", "score", *objective, *(["front"] if costs else [])]
        + [*(f"bytes_{one}" for one in sent), *space]
    )
    for trial in trials:
        objectives = [trial.costs.get(cost, math.nan) for cost in costs] or [trial.objective(r) for r in rungs]
        numbers = [repr(x) if math.isfinite(x) else "" for x in (trial.score, *objectives)]
        same = "" if trial.same_as is None else trial.same_as
        values = [trial.values[path] for path in space]
        writer.writerow(
            [trial.number, trial.state, same, trial.rounds, trial.best_round, *numbers]
            + ([int(trial in front)] if costs else [])
            + [*(trial.bytes[one] for one in sent), *values]
        )
    return text.getvalue()


def preset(experiment: Experiment, best: Trial, trials: int, seed: int) -> str:
    """The experiment as a preset; folders and clusters are no part of one."""
    values = replace(experiment, runtime=without(experiment.runtime, *ELSEWHERE)).to_dict()
    said = ", ".join(f"{path}={value}" for path, value in best.values.items())
    return (
        f"# {experiment.name}, tuned: {said} (trial {best.number} of {trials}).\n"
        f"# Validation score {best.score:.4f} after round {best.best_round}, on seed {seed}.\n" + tomli_w.dumps(values)
    )
