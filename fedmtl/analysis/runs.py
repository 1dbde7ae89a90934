"""A run as the study sees it: its settings, its measurements, and what they had cost."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, takewhile
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

from fedmtl.analysis.confusion import Confusion, confusions
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.text import escaped
from fedmtl.metrics import MEASURES
from fedmtl.runs.run_failure import Failure
from fedmtl.tables.schemas import TEST, TRAIN_LOSS, VALID, names_of

TRAINING = ("train", "raw_data")
"""The purposes whose packets are the price of a model. How often it is evaluated is a choice of the study."""

EXPLODED = -9.0
"""The score of a task at and below which a model that was better untrained has exploded: its squared error is ten times
that of the best constant. Accuracies have no such score."""


class Curve(NamedTuple):
    """A number over the evaluated rounds, with what the model had cost by then. Three lists of equal length."""

    rounds: list[int]
    bytes: list[int]
    """Training bytes, down and up, of all rounds up to and including this one; 0 at round 0."""
    values: list[float]
    """NaN where nothing was labelled, or where the model diverged (NaN or infinite)."""


class Diagnostic(NamedTuple):
    """Numbers of K clients."""

    clients: list[int]
    values: list[Any]
    """[K], or [K, K] as rows; None where there is no number."""


class Metric(NamedTuple):
    """Metric of a task."""

    name: str
    higher_is_better: bool


@dataclass(frozen=True, eq=False)
class Run:
    """Rows and summary of one run. Only rounds that were evaluated for every task count as evaluated.

    Of a run with validation parts, curves are of these parts, and scores at the end are of the test parts, with the
    model of the best round. Of other runs both are of the test parts, and the last round is the result.
    """

    folder: Path
    experiment: dict[str, Any]
    """The resolved experiment: settings, and the tables ``data``, ``algorithm``, ``up_codec``, ``down_codec``, …"""
    rows: list[dict[str, Any]]
    """One measurement a row; ``client`` is None where all clients are pooled."""
    transfers: list[dict[str, Any]]
    """One packet a row."""
    summary: dict[str, Any]
    """Summary of the run; of a run that has not ended, its labels only."""
    noted: Failure | None = None
    """The failure that it left in its folder."""
    read_measures: Callable[[], list[dict[str, Any]]] = list
    """Function that returns the rows of the table ``measures``."""
    read_confusion: Callable[[], list[dict[str, Any]]] = list
    """Function that returns the rows of the table ``confusion``."""
    read_training: Callable[[], list[dict[str, Any]]] = list
    """Function that returns the rows of the table ``training``."""

    @property
    def seed(self) -> int:
        return self.experiment["seed"]

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Task name -> its metric, sorted by name."""
        found = {row["task"]: Metric(row["metric"], row["higher_is_better"]) for row in self.rows}
        return dict(sorted(found.items()))

    @cached_property
    def curve_part(self) -> str:
        """The part of the clients' examples that curves are of: valid where the run measured its rounds there."""
        return VALID if any(row["part"] == VALID for row in self.rows) else TEST

    @cached_property
    def final_part(self) -> str:
        """The part that scores at the end are of: test, but of a run that has not come to testing its best round."""
        return TEST if any(row["part"] == TEST for row in self.rows) else self.curve_part

    def _by_round(self, part: str) -> dict[int, dict[str, dict[str, Any]]]:
        """Evaluated round -> task -> the row over all clients, of a part."""
        pooled: dict[int, dict[str, dict[str, Any]]] = {}
        for row in self.rows:
            if row["client"] is None and row["part"] == part:
                pooled.setdefault(row["round"], {})[row["task"]] = row
        return {r: tasks for r, tasks in sorted(pooled.items()) if len(tasks) == len(self.metrics)}

    @cached_property
    def _pooled(self) -> dict[int, dict[str, dict[str, Any]]]:
        """Evaluated round -> task -> the row over all clients, of the part that curves are of."""
        return self._by_round(self.curve_part)

    @cached_property
    def _final(self) -> tuple[int | None, dict[str, dict[str, Any]]]:
        """The round whose model is the run's result, and task -> the row over all clients; None and none at first."""
        pooled = self._pooled if self.final_part == self.curve_part else self._by_round(self.final_part)
        return next(reversed(pooled.items()), (None, {}))

    @property
    def rounds(self) -> list[int]:
        """The evaluated rounds, ascending; 0 is the initial model."""
        return list(self._pooled)

    @property
    def last_round(self) -> int | None:
        """The last evaluated round; None when the run was killed before its first measurement."""
        return self.rounds[-1] if self.rounds else None

    @property
    def finished(self) -> bool:
        """True where the run came to its end: it wrote its summary, after its last round or where it stopped early."""
        return "tasks" in self.summary and ("stopped" in self.summary or self.last_round == self.experiment["rounds"])

    @property
    def final_round(self) -> int | None:
        """The round whose model is the result: the last evaluated one, or the best on the validation part."""
        return self._final[0]

    @cached_property
    def failure(self) -> Failure | None:
        """The reason why the run is no sample of its experiment's result; None of one that is.

        A run has *diverged* when an error ended it because no number of any update was finite; when the metric of a
        labelled task of its result is not finite; or when the score of a labelled task of its result is ``EXPLODED`` or
        less, and less than at round 0. The round is the first from which on that is so, until the result's.
        """
        if not self.finished and self.noted is not None and self.noted.state == "diverged":
            return self.noted
        reason = self._divergence(self._final[1])
        if reason:
            first = self.final_round or 0
            earlier = [round for round in reversed(self.rounds) if round <= first]
            first = min([first, *takewhile(lambda round: self._divergence(self._pooled[round]), earlier)])
            return Failure("diverged", first, reason)
        if self.finished:
            return None
        return self.noted or Failure("unfinished", self._done, "it was ended, or goes on")

    def _divergence(self, tasks: Mapping[str, Mapping[str, Any]]) -> str:
        """The reason why rows over all clients are those of a diverged model; empty where they are not."""
        for task, row in sorted(tasks.items()):
            if not row["examples"]:
                continue
            if not isfinite(_number(row["value"])) or not isfinite(_number(row["score"])):
                return f"{row['metric']} of task {task} is not finite"
            untrained = _number(self._pooled.get(0, {}).get(task, {}).get("score"))
            if row["score"] <= EXPLODED and not row["score"] >= untrained:
                return f"the score of task {task} is {row['score']:.4g}, and was {untrained:.4g} at round 0"
        return ""

    @property
    def _done(self) -> int:
        """The last round of which anything was written."""
        written = [t["round"] for t in self.transfers if t["purpose"] in TRAINING]
        return max([*written, *self.rounds], default=0)

    @cached_property
    def diagnostics(self) -> dict[str, Diagnostic]:
        """Diagnostics of the algorithm about the clients, by name; none where it has none, or before the end."""
        path = self.folder / "diagnostics.json"
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {name: Diagnostic(each["clients"], each["values"]) for name, each in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} is not what a run writes ({type(error).__name__}); delete it.") from None

    def training_bytes(self, direction: str | None = None) -> int:
        """Bytes that training sent in a direction, "down" or "up"; in both when None."""
        return self._bytes(TRAINING, direction)

    def evaluation_bytes(self) -> int:
        """Bytes that evaluation sent, in both directions."""
        return self._bytes(("evaluate",), None)

    def _bytes(self, purposes: Iterable[str], direction: str | None) -> int:
        return sum(
            t["packet_bytes"]
            for t in self.transfers
            if t["purpose"] in purposes and direction in (None, t["direction"])
        )

    @cached_property
    def _cost(self) -> list[int]:
        """Training bytes up to and including each evaluated round."""
        by_round: dict[int, int] = {}
        for t in self.transfers:
            if t["purpose"] in TRAINING:
                by_round[t["round"]] = by_round.get(t["round"], 0) + t["packet_bytes"]
        last = max([*by_round, *self.rounds], default=0)
        totals = list(accumulate(by_round.get(r, 0) for r in range(last + 1)))
        # The initial model is free, wherever the ledger puts what was gathered before the first round.
        return [totals[r] if r > 0 else 0 for r in self.rounds]

    def curve(self, task: str) -> Curve:
        """The task's metric over all clients, in its own unit; on the validation part where the run has one.

        Raises:
            ValueError: a task that this run does not have.
        """
        self._check_task(task)
        return Curve(self.rounds, self._cost, [_number(rows[task]["value"]) for rows in self._pooled.values()])

    def _check_task(self, task: str) -> None:
        if task not in self.metrics:
            raise ValueError(
                f"{self.folder} has the tasks {list(self.metrics)}, got {task!r}.{did_you_mean(task, self.metrics)}"
            )

    def mean_score_curve(self) -> Curve:
        """The mean over tasks of the score over all clients; tasks of which nothing was labelled are left out.

        A task that was labelled and has no score has diverged, and so has the mean: NaN, not a mean of the rest.
        """
        return Curve(self.rounds, self._cost, [_mean_score(rows.values()) for rows in self._pooled.values()])

    def score(self) -> float:
        """The mean score of the result, on the test part where the run has come so far; NaN when there is none."""
        return _mean_score(self._final[1].values())

    def value(self, task: str) -> float:
        """The task's metric over all clients, of what ``score`` is of; NaN when there is none.

        Raises:
            ValueError: a task that this run does not have.
        """
        self._check_task(task)
        row = self._final[1].get(task)
        return nan if row is None else _number(row["value"])

    def task_score(self, task: str) -> float:
        """The task's score over all clients, of what ``score`` is of; NaN when there is none."""
        row = self._final[1].get(task)
        return nan if row is None else _number(row["score"])

    @cached_property
    def measures(self) -> list[dict[str, Any]]:
        """Metrics beside the primary one, of each client and task, and of all clients together (client None)."""
        return self.read_measures()

    def measure(self, task: str, name: str, client: int | None = None) -> float:
        """A metric beside the primary one, of what ``score`` is of.

        Args:
            task: of the run.
            name: one of ``fedmtl.metrics.MEASURES``, such as "macro_f1".
            client: whose; None for all clients together.

        Returns:
            NaN where the task has no such metric, the metric no value, or the run no such measurement.

        Raises:
            ValueError: a task that this run does not have, or an unknown name.
        """
        if name not in MEASURES:
            raise ValueError(f"The metrics are {', '.join(MEASURES)}, got {name!r}.")
        self._check_task(task)
        found = [row for row in self._final_measures if row["task"] == task and row["client"] == client]
        return _number(found[-1][name]) if found else nan

    @cached_property
    def _final_measures(self) -> list[dict[str, Any]]:
        return [row for row in self.measures if (row["round"], row["part"]) == (self.final_round, self.final_part)]

    @cached_property
    def training(self) -> list[dict[str, Any]]:
        """Training losses: a row for each round and client whose update was used, and their mean (client None)."""
        return self.read_training()

    def train_losses(self, client: int | None = None) -> dict[int, float]:
        """Round -> training loss; NaN where it diverged. Nothing where uploads hold none.

        Args:
            client: whose; None for the mean over all clients of the round.
        """
        rows = [row for row in self.training if row["client"] == client and row["metric"] == TRAIN_LOSS]
        return {row["round"]: _number(row["value"]) for row in rows}

    @cached_property
    def _confusion(self) -> list[dict[str, Any]]:
        rows = self.read_confusion()
        return [row for row in rows if (row["round"], row["part"]) == (self.final_round, self.final_part)]

    def confusion(self, task: str, client: int | None = None) -> dict[str | int | None, Confusion]:
        """Confusion matrices of what ``score`` is of: one under None, or one for each of a ``MultiLabel``'s labels.

        Args:
            task: of the run.
            client: whose; None for all clients together.

        Returns:
            Nothing for a regression, or where the run was measured by the primary metric alone.

        Raises:
            ValueError: a task that this run does not have.
        """
        self._check_task(task)
        rows = [row for row in self._confusion if row["task"] == task]
        return confusions(rows, client, self.class_names(task))

    def class_names(self, task: str) -> list[str]:
        """Names of a task's classes, or of its labels; empty where the user gave none.

        Raises:
            ValueError: a task that this run does not have.
        """
        self._check_task(task)
        classes = self.summary.get("names", {}).get("classes", {})
        return [escaped(name) for name in classes.get(task, [])]

    def client_name(self, client: int) -> str:
        """The name that the user gave a client; else its number."""
        return self._client_names.get(client, str(client))

    @cached_property
    def _client_names(self) -> dict[int, str]:
        return names_of(self.summary)

    def client_scores(self) -> dict[int, float]:
        """Client -> the mean score over its own tasks, of what ``score`` is of.

        Clients that have no labelled test example are left out.
        """
        by_client: dict[int, list[dict[str, Any]]] = {}
        for row in self.rows:
            result = row["round"] == self.final_round and row["part"] == self.final_part
            if row["client"] is not None and result and row["examples"] > 0:
                by_client.setdefault(row["client"], []).append(row)
        return {client: _mean_score(rows) for client, rows in sorted(by_client.items())}

    def bytes_to(self, target_score: float) -> int | None:
        """Training bytes at the first evaluated round whose mean score is at least ``target_score``, or None."""
        curve = self.mean_score_curve()
        return next((b for b, score in zip(curve.bytes, curve.values, strict=True) if score >= target_score), None)


def _number(value: float | None) -> float:
    return value if value is not None and isfinite(value) else nan


def _mean_score(rows: Iterable[Mapping[str, Any]]) -> float:
    scores = [_number(row["score"]) for row in rows if row["examples"] > 0]
    return sum(scores) / len(scores) if scores and not any(map(isnan, scores)) else nan
