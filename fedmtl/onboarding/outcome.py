"""Outcome of onboarding: scores against labels seen, bytes, and the new clients' models."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedmtl.analysis.numbers import NOTHING, human_bytes
from fedmtl.core.input_forms import InputForms
from fedmtl.core.markdown import table
from fedmtl.core.types import ClientId, TaskSet
from fedmtl.data.client_number import client_number
from fedmtl.data.recipe import TableRecipe
from fedmtl.export.inputs import checked_inputs
from fedmtl.export.mixture import apart
from fedmtl.export.modules import ModelMixture, module_of
from fedmtl.export.named_inputs import predict_named
from fedmtl.export.predict import predict
from fedmtl.models.predictions import Predictions
from fedmtl.models.split_model import SplitModel
from fedmtl.onboarding.descent import NewModels
from fedmtl.protocol.plan import Plan

AS_SENT, HEAD, TUNED, SCRATCH = "as sent", "head", "fine-tuned", "from scratch"
"""Ways to a model: that which the server sends; a head on its frozen trunk; all of it trained further; and a trunk and
a head from the labels alone, with nothing downloaded."""

ALL = "all"
"""Stands for all labels."""

MOST_CLIENTS = 30
"""Clients at most that a table has rows of."""


class Score(NamedTuple):
    """A measurement of a new client's model, or of those of all new clients, on their test examples."""

    labels: int | str
    """k, or "all"; 0 of a model as it is sent, unless labels weigh several."""
    way: str
    """The way to the model: "as sent", "head", "fine-tuned" or "from scratch"."""
    client: ClientId | None
    """None: all of them, by the sums of their examples."""
    client_name: str
    task: str
    metric: str
    value: float
    score: float
    """More is better; NaN where no test example is labelled."""
    labelled: int
    """Labelled examples of the task that were used."""
    bytes_down: int
    """Bytes that were downloaded: a client's packet, or all of them."""


def columns_of(scores: Sequence[Score]) -> dict[str, NDArray[Any]]:
    """Return scores as columns of a table, by name; a row over all clients has an empty client."""
    rows = [one._replace(client="" if one.client is None else one.client)._asdict() for one in scores]  # pyright: ignore
    return {name: np.array([row[name] for row in rows], object) for name in Score._fields}


class NewClients(NamedTuple):
    """New clients of one set of tasks, and of one width, with their models."""

    module: SplitModel
    """The network of all tasks."""
    owned: TaskSet
    clients: NDArray[np.int64]
    models: Mapping[tuple[int | str, str], NewModels]
    """(labels, way) -> models of the clients, of ways that download."""


@dataclass(frozen=True)
class Onboarded:
    """Result of ``onboard``; ``pandas.DataFrame(onboarded.scores)`` is a table of all scores."""

    scores: list[Score] = field(repr=False)
    """A row for each number of labels, way, client and task, and one over all clients (client None)."""
    plan: Plan = field(repr=False)
    """The plan of the run, with the new tasks."""
    groups: list[NewClients] = field(repr=False)
    names: Mapping[ClientId, str] = field(default_factory=dict, repr=False)
    """Names of new clients that have one."""
    recipe: TableRecipe | None = field(default=None, repr=False)
    forms: InputForms = field(default_factory=dict, repr=False)
    """Inputs that have names."""

    def value(self, labels: int | str | None, way: str = HEAD, task: str | None = None) -> float:
        """Return the mean over new clients of a task's metric, or without a task of the score of all tasks.

        Args:
            labels: k, or None or "all" for all.
            way: to the model.
            task: name.

        Raises:
            ValueError: no such measurement.
        """
        wanted = [
            one
            for one in self.scores
            if (one.labels, one.way) == (ALL if labels is None else labels, way)
            and one.client is not None
            and task in (None, one.task)
        ]
        if not wanted:
            known = sorted({f"labels={one.labels!r}, way={one.way!r}" for one in self.scores})
            raise ValueError(
                f"No score of labels={labels!r}, way={way!r}, task={task!r}; there are {'; '.join(known)}."
            )
        found = [one.score if task is None else one.value for one in wanted]
        return float(np.mean([each for each in found if not math.isnan(each)] or [math.nan]))

    def table(self, clients: bool = True) -> str:
        """Return the scores as Markdown: a row for each client, task and number of labels, a column for each way.

        The first rows are means over clients, of values, of labelled examples and of bytes.

        Args:
            clients: a row for each client, of the first 30; else only means over clients.
        """
        labelled = {one.way for one in self.scores if one.labels != 0}
        ways = [way for way in (AS_SENT, HEAD, TUNED, SCRATCH) if way in labelled]
        shown: Sequence[ClientId] = [client for group in self.groups for client in group.clients.tolist()]
        names = {client: self.names.get(client, str(client)) for client in sorted(shown)[:MOST_CLIENTS]}
        cells: dict[tuple[Any, ...], dict[str, Score]] = {}
        for one in self.scores:
            cells.setdefault((one.client, one.task, one.labels), {})[one.way] = one
        counts = list(dict.fromkeys(one.labels for one in self.scores))
        lines = []
        for task in self.plan.all_tasks:
            for client in [None, *(names if clients else ())]:
                for labels in counts:
                    if (found := cells.get((client, task, labels))) is not None:
                        lines.append(self._line(client, names, task, labels, ways, found))
        return table(["clients", "task", "labels", *ways, "labelled", "download"], lines, left=(0, 1))

    def _line(
        self,
        client: ClientId | None,
        names: Mapping[ClientId, str],
        task: str,
        labels: int | str,
        ways: Sequence[str],
        found: Mapping[str, Score],
    ) -> list[str]:
        some = next(iter(found.values()))
        values = []
        for way in ways:
            one = found.get(AS_SENT if labels == 0 and way == HEAD else way)
            value = math.nan if one is None else one.value if client is not None else self.value(labels, one.way, task)
            values.append(NOTHING if math.isnan(value) else f"{value:.3f}")
        count = sum(len(group.clients) for group in self.groups if task in group.owned)
        who, over = (f"mean of {count}", count) if client is None else (names[client], 1)
        each = f"{some.labelled / over:.0f}", human_bytes(some.bytes_down / over)
        return [who, f"{task} ({some.metric})", str(labels), *values, *each]

    def model(self, client: int | str, labels: int | str | None = None, way: str | None = None) -> nn.Module:
        """Return a new client's model, in evaluation mode: inputs [B, …] -> task -> outputs.

        Args:
            client: id or name.
            labels: k; None: the most that were asked for.
            way: "as sent" of several models, "head" or "fine-tuned"; None: the last of these that there is.

        Raises:
            ValueError: no such client or model.
        """
        group, row = self._place(client)
        keys = [key for key in group.models if labels in (None, key[0]) and way in (None, key[1])]
        if not keys:
            known = "; ".join(f"labels={one!r}, way={other!r}" for one, other in group.models)
            raise ValueError(f"No model of labels={labels!r}, way={way!r} is kept; there are {known}.")
        found = group.models[keys[-1]]
        params = {**found.common, **{name: value[row] for name, value in found.own.items()}}
        with torch.no_grad():
            if not found.mixed:
                return module_of(group.module, group.owned, params)
            models, weights = apart(params)
            parts = [module_of(group.module, group.owned, one) for one in models]
            return ModelMixture(parts, weights, {task: self.plan.tasks[task] for task in group.owned}).eval()

    def predict(
        self, client: int | str, x: Any, labels: int | str | None = None, way: str | None = None
    ) -> Predictions:
        """Return a new client's predictions, decoded: task -> values, probabilities.

        Args:
            client, labels, way: as in ``model``.
            x: examples, [N, …], as the run's data had them; of a run on a table, a table with its columns, too.

        Raises:
            ValueError: no such client or model, or examples that do not fit.
        """
        group, _ = self._place(client)
        if self.recipe is not None and hasattr(x, "columns"):
            x = self.recipe.inputs(x, None)
        (shape, _), module = self.plan.input_like, self.model(client, labels, way)
        tasks = {task: self.plan.tasks[task] for task in group.owned}
        if self.forms:
            return predict_named(module, self.plan.module, tasks, self.forms, x)
        return predict(module, tasks, checked_inputs(x, shape, self.plan.integer_inputs))

    def _place(self, client: int | str) -> tuple[NewClients, int]:
        """Return a client's group, and its row there."""
        every = np.sort(np.concatenate([group.clients for group in self.groups]))
        number = client_number("The onboarded data", client, every, self.names)
        group = next(group for group in self.groups if number in group.clients)
        return group, int(np.flatnonzero(group.clients == number)[0])
