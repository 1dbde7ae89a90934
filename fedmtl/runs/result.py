"""Result of a run: rows, a ledger and a summary.

A run's folder holds ``experiment.toml`` (resolved), ``environment.json``, ``schema.json`` (of its data),
``rounds.columns`` (a row for each round, client and task, and one over all clients with client null),
``ledger.columns`` (a row for each packet),
``measures.columns`` and ``confusion.columns`` (metrics beside the primary one, and confusion counts),
``training.columns`` (clients' training losses), ``checkpoint/`` (the state of the last finished round),
``model.safetensors``, ``diagnostics.json`` (the algorithm's diagnostics of the clients, if it has any) and
``summary.json`` (at the end); and of a run of few lines ``rounds.jsonl`` and ``ledger.jsonl``, the same rows as lines
of JSON.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fedmtl.metrics import MEASURES
from fedmtl.models.predictions import Predictions
from fedmtl.tables.client_names import names_of, with_names
from fedmtl.tables.schemas import Row


class Models(Protocol):
    """Models of a run's clients."""

    def module(self, client: int | str) -> nn.Module: ...

    def predict(self, client: int | str, x: Any) -> Predictions: ...


def _no_models() -> Models:
    raise RuntimeError(
        "The models of this run's clients are on the devices that trained; copy their states, and load_result(folder, "
        "state=…) has the models."
    )


@dataclass(repr=False)
class Result:
    """Result of a run; ``pandas.DataFrame(result.rows)`` and ``pandas.DataFrame(result.ledger)`` are tables.

    Rows and ledger become lists when they are first asked for; those of a run in a folder are then read from its files.
    """

    make_rows: Callable[[], list[Row]]
    make_ledger: Callable[[], list[Row]]
    summary: dict[str, Any]
    state: Any
    """The algorithm's server state after the last round, or the best on validation parts: for FedPer the trunk."""
    folder: Path | None = None
    diagnostics: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Diagnostics of the algorithm about clients, such as a similarity [K, K]; rows are all clients, ascending."""
    make_measures: Callable[[], list[Row]] = list
    make_confusion: Callable[[], list[Row]] = list
    make_training: Callable[[], list[Row]] = list
    make_models: Callable[[], Models] = _no_models
    references: Mapping[str, Any] = field(default_factory=dict)
    """Models that clients hold, where broadcasts are changes of them, see ``server/references.py``."""

    def __repr__(self) -> str:
        """One line: the numbers of a trained model fill screens."""
        if not self.summary:
            return f"Result(paused, folder={str(self.folder)!r})"
        values = {task: (one["metric"], one["value"]) for task, one in self.summary["tasks"].items()}
        found = {task: metric if value is None else f"{metric} {value:.4g}" for task, (metric, value) in values.items()}
        sent, folder = self.summary["bytes"]["total"], "" if self.folder is None else f", folder={str(self.folder)!r}"
        return f"Result({self.summary['label']!r}, {found}, {sent:,} bytes{folder})"

    @cached_property
    def rows(self) -> list[Row]:
        """One for each round, client and task, and one over all clients (client None)."""
        return with_names(self.make_rows(), names_of(self.summary))

    @cached_property
    def ledger(self) -> list[Row]:
        """One for each packet."""
        return with_names(self.make_ledger(), names_of(self.summary))

    @cached_property
    def measures(self) -> list[Row]:
        """Metrics beside the primary one: a row for each client and task, and one over all clients (client None), of
        the models that are measured by all metrics."""
        return with_names(self.make_measures(), names_of(self.summary))

    @cached_property
    def confusion(self) -> list[Row]:
        """Examples by their class and the predicted one: of all clients, and for the last model of each client, too."""
        return with_names(self.make_confusion(), names_of(self.summary))

    @cached_property
    def training(self) -> list[Row]:
        """Training losses: a row for each round and client whose update was used, and one over all of these clients
        (client None)."""
        return with_names(self.make_training(), names_of(self.summary))

    def model(self, client: int | str) -> nn.Module:
        """Return the model that a client predicts with, the one that the run measured at its end.

        In evaluation mode, ``model(x)`` gives task -> outputs of its head, [B, …]: logits, or numbers in standardised
        units. It is a copy: training it changes nothing of the run.

        Args:
            client: id or name.

        Raises:
            ValueError: an unknown client, or one whose private state is elsewhere.
            RuntimeError: a run that is paused, or whose models are on devices.
        """
        return self.models.module(client)

    def predict(self, client: int | str, x: Any) -> Predictions:
        """Return a client's predictions for new examples, decoded: task -> values, probabilities.

        Args:
            client: id or name.
            x: examples, [N, …], as the run's data had them: an array, a tensor, a list, or a table; where its inputs
                have names, {name of an input or a task: examples}.

        Raises:
            ValueError: as ``model``; examples of another shape or type, with NaN or infinity; a model that gives NaN.
            RuntimeError: as ``model``.
        """
        return self.models.predict(client, x)

    @cached_property
    def models(self) -> Models:
        """Models of all clients."""
        if not self.summary:
            raise RuntimeError("The run is paused, so it has no last model yet; finish it with resume=True.")
        return self.make_models()


def named_tensors(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of nested mappings and NamedTuples under dotted names."""
    if isinstance(tree, Tensor):
        return {prefix: tree.contiguous().clone()}  # safetensors refuses two names of one memory
    if hasattr(tree, "_asdict"):
        tree = tree._asdict()
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    tensors: dict[str, Tensor] = {}
    for key, value in items:
        tensors.update(named_tensors(value, f"{prefix}.{key}" if prefix else str(key)))
    return tensors


def measures_of(row: Row) -> dict[str, float]:
    """The metrics of a row of the table ``measures`` that have a value."""
    return {name: row[name] for name in MEASURES if row[name] is not None}


def diagnostics_of(algorithm: Any, state: Any) -> dict[str, NDArray[Any]]:
    """Return the algorithm's diagnostics of the clients, from the server's state; none where it has none."""
    found = algorithm.diagnostics(state) if algorithm.traits.diagnostics else {}
    return {
        name: np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
        for name, values in found.items()
    }


def diagnostics_text(diagnostics: Mapping[str, NDArray[Any]], clients: Iterable[int]) -> str:
    """The content of ``diagnostics.json``: name -> the clients of its rows, and the numbers; NaN is null."""
    rows = list(clients)

    def numbers(values: Any) -> Any:
        if isinstance(values, list):
            return [numbers(value) for value in values]
        return values if np.isfinite(values) else None

    found = {name: {"clients": rows, "values": numbers(values.tolist())} for name, values in diagnostics.items()}
    return json.dumps(found)
