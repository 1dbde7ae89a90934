"""A run as the study sees it: its settings, its measurements, and what they had cost."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any

from fedmtl.analysis.confusion import ConfusionMatrix, confusions
from fedmtl.analysis.curve import Curve, Metric, number
from fedmtl.analysis.diagnostics import Diagnostic, read_diagnostics
from fedmtl.analysis.divergence import failure_of
from fedmtl.analysis.pooled_rows import TaskRows, client_rows, pooled_by_round
from fedmtl.analysis.transfers import TRAINING, cost_by_round, sent_bytes
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.text import escaped
from fedmtl.metrics import MEASURES
from fedmtl.runs.run_failure import Failure
from fedmtl.tables.client_names import names_of
from fedmtl.tables.mean_score import mean_score_of
from fedmtl.tables.schemas import TEST, TRAIN_LOSS, VALID


@dataclass(frozen=True, eq=False)
class Run:
    """Rows and summary of one run. Only rounds that were evaluated for every task count as evaluated.

    Of a run with validation parts, curves are of these parts, and scores at the end are of the test parts, with the
    model of the best round. Of other runs both are of the test parts, and the last round is the result.
    """

    folder: Path
    experiment: dict[str, Any]
    """The resolved experiment: settings, and the tables ``data``, ``algorithm``, ``up_codec``, …"""
    rows: list[dict[str, Any]]
    """One measurement a row; ``client`` is None where all clients are pooled."""
    transfers: list[dict[str, Any]]
    """One packet a row."""
    summary: dict[str, Any]
    """Summary of the run; of a run that has not ended, its labels only."""
    noted: Failure | None = None
    """The failure that it left in its folder."""
    read_measures: Callable[[], list[dict[str, Any]]] = list
    read_confusion: Callable[[], list[dict[str, Any]]] = list
    read_training: Callable[[], list[dict[str, Any]]] = list
    """Functions that return the rows of the tables ``measures``, ``confusion`` and ``training``."""

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

    @cached_property
    def _pooled(self) -> dict[int, TaskRows]:
        """Evaluated round -> task -> the row over all clients, of the part that curves are of."""
        return pooled_by_round(self.rows, self.curve_part, len(self.metrics))

    @cached_property
    def _final(self) -> tuple[int | None, TaskRows]:
        """The round whose model is the run's result, and task -> the row over all clients; None and none at first."""
        same = self.final_part == self.curve_part
        pooled = self._pooled if same else pooled_by_round(self.rows, self.final_part, len(self.metrics))
        return next(reversed(pooled.items()), (None, {}))

    @property
    def rounds(self) -> list[int]:
        """The evaluated rounds, ascending; 0 is the initial model."""
        return list(self._pooled)

    @property
    def last_round(self) -> int | None:
        """The last evaluated round; None before the first measurement."""
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
        """The reason why the run is no sample of its experiment's result, see ``failure_of``; None of one that is."""
        written = [t["round"] for t in self.transfers if t["purpose"] in TRAINING]
        done = max([*written, *self.rounds], default=0)
        return failure_of(self.finished, self.noted, self._pooled, self._final, done)

    @cached_property
    def diagnostics(self) -> dict[str, Diagnostic]:
        """Diagnostics of the algorithm about the clients, by name; none where it has none, or before the end."""
        return read_diagnostics(self.folder)

    def training_bytes(self, direction: str | None = None) -> int:
        """Bytes that training sent in a direction, "down" or "up"; in both when None."""
        return sent_bytes(self.transfers, TRAINING, direction)

    def evaluation_bytes(self) -> int:
        """Bytes that evaluation sent, in both directions."""
        return sent_bytes(self.transfers, ("evaluate",), None)

    @cached_property
    def _cost(self) -> list[int]:
        return cost_by_round(self.transfers, self.rounds)

    def curve(self, task: str) -> Curve:
        """The task's metric over all clients, in its own unit; on the validation part where the run has one.

        Raises:
            ValueError: a task that this run does not have.
        """
        self._check_task(task)
        return Curve(self.rounds, self._cost, [number(rows[task]["value"]) for rows in self._pooled.values()])

    def _check_task(self, task: str) -> None:
        if task not in self.metrics:
            raise ValueError(
                f"{self.folder} has the tasks {list(self.metrics)}, got {task!r}.{did_you_mean(task, self.metrics)}"
            )

    def mean_score_curve(self) -> Curve:
        """The mean over labelled tasks of the score over all clients; NaN where one has diverged."""
        return Curve(self.rounds, self._cost, [mean_score_of(rows.values()) for rows in self._pooled.values()])

    def score(self) -> float:
        """The mean score of the result, on the test part where the run has come so far; NaN when there is none."""
        return mean_score_of(self._final[1].values())

    def value(self, task: str) -> float:
        """The task's metric over all clients, of what ``score`` is of; NaN when there is none.

        Raises:
            ValueError: a task that this run does not have.
        """
        self._check_task(task)
        return number(self._final[1].get(task, {}).get("value"))

    def task_score(self, task: str) -> float:
        """The task's score over all clients, of what ``score`` is of; NaN when there is none."""
        return number(self._final[1].get(task, {}).get("score"))

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
            NaN where there is no such metric, value or measurement.

        Raises:
            ValueError: a task that this run does not have, or an unknown name.
        """
        if name not in MEASURES:
            raise ValueError(f"The metrics are {', '.join(MEASURES)}, got {name!r}.")
        self._check_task(task)
        found = [row for row in self._final_measures if row["task"] == task and row["client"] == client]
        return number(found[-1][name]) if found else nan

    @cached_property
    def _final_measures(self) -> list[dict[str, Any]]:
        return self._of_result(self.measures)

    @cached_property
    def training(self) -> list[dict[str, Any]]:
        """Training losses: a row for each round and client whose update was used, and their mean (client None)."""
        return self.read_training()

    def train_losses(self, client: int | None = None) -> dict[int, float]:
        """Round -> training loss of a client, or the mean over the round's (None); NaN where it diverged."""
        rows = [row for row in self.training if row["client"] == client and row["metric"] == TRAIN_LOSS]
        return {row["round"]: number(row["value"]) for row in rows}

    @cached_property
    def _confusion(self) -> list[dict[str, Any]]:
        return self._of_result(self.read_confusion())

    def _of_result(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if (row["round"], row["part"]) == (self.final_round, self.final_part)]

    def confusion(self, task: str, client: int | None = None) -> dict[str | int | None, ConfusionMatrix]:
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
        """Client with a labelled test example -> the mean score over its own tasks, of what ``score`` is of."""
        by_client = client_rows(self.rows, self.final_round, self.final_part)
        return {client: mean_score_of(rows) for client, rows in sorted(by_client.items())}

    def bytes_to(self, target_score: float) -> int | None:
        """Training bytes at the first evaluated round whose mean score is at least ``target_score``, or None."""
        curve = self.mean_score_curve()
        return next((b for b, score in zip(curve.bytes, curve.values, strict=True) if score >= target_score), None)
