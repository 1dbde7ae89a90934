"""The tables of a run: their fields, and from blocks to rows.

It imports no torch, so that a report of finished runs comes at once.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedmtl.core.text import escaped
from fedmtl.metrics.base import MEASURES as NAMES
from fedmtl.tables.blocks import Block, DamagedFile, Mark, read

Row = dict[str, Any]

ALL_CLIENTS = -1
"""Stands in the column ``client`` of metrics for all clients' examples together."""


TRAIN_LOSS = "train_loss"
"""Metric of a client's training: mean loss over the examples of all its steps, each before the step."""

PURPOSES = ("train", "evaluate", "raw_data", "prepare")
"""Purposes of packets, in the order of their numbers."""

TRAINING_PURPOSES = ("train", "raw_data", "prepare")
"""The purposes whose packets are the price of a model. How often it is evaluated is a choice of the study."""

TEST, VALID = "test", "valid"
"""Parts of a client's examples that a model is measured on; a block of metrics that names none is of the test part."""

PARTS = (TEST, VALID)


class Table(NamedTuple):
    """One table of a run."""

    name: str
    fields: tuple[str, ...]
    decode: Callable[[Block], tuple[list[Any], ...]]
    spent: tuple[str, ...] = ()
    """Further fields, of a run with a simulated clock."""
    saved: tuple[str, ...] = ()
    """Further fields, of a run with a codec that declares ``ideal_bits``."""

    def names(self, block: Block) -> tuple[str, ...]:
        """Return the fields of a block."""
        further = (*self.spent * ("spent" in block.shared), *self.saved * ("saved_bits" in block.columns))
        return (*self.fields, *further)

    def values(self, block: Block) -> tuple[list[Any], ...]:
        """For each field its values, as JSON has them.

        Raises:
            DamagedFile: a block that no run writes so.
        """
        try:
            found = self.decode(block)
            if "spent" in block.shared:
                pairs = zip(self.spent, block.shared["spent"], strict=True)
                found = (*found, *(_numbers([float(value)]) * block.lines for _, value in pairs))
            if self.saved and "saved_bits" in block.columns:
                bodies = np.maximum(block.columns["packet_bytes"] - int(block.shared["header_bytes"]), 0)
                found = (*found, (8 * bodies - block.columns["saved_bits"]).tolist())
            return found
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DamagedFile(f"A block of the table {self.name!r} cannot be read: {str(error)[:200]}.") from None

    @property
    def file(self) -> str:
        return f"{self.name}.columns"

    @property
    def export(self) -> str:
        """Name of its lines of JSON."""
        return f"{self.name}.jsonl"


def _metrics(block: Block) -> tuple[list[Any], ...]:
    tasks: list[list[Any]] = block.shared["tasks"]
    columns = block.columns
    task = _among(columns["task"], tasks)
    names, metrics, higher = ([one[field] for one in tasks] for field in range(3))
    return (
        [int(block.shared["round"])] * block.lines,
        _clients(block),
        [names[index] for index in task],
        [metrics[index] for index in task],
        _numbers(columns["value"].tolist()),
        _numbers(columns["score"].tolist()),
        [higher[index] for index in task],
        columns["examples"].tolist(),
        _numbers(columns["seconds"].tolist()),
        [_part(block.shared.get("part", TEST))] * block.lines,
    )


def _part(name: Any) -> str:
    if name not in PARTS:
        raise ValueError(f"part {str(name)[:40]!r}, which is one of {', '.join(PARTS)}")
    return name


def _transfers(block: Block) -> tuple[list[Any], ...]:
    columns = block.columns
    named = [
        [block.shared[f"{key}s"][index] for index in _among(columns[key], block.shared[f"{key}s"])]
        for key in ("direction", "purpose")
    ]
    return columns["round"].tolist(), columns["client"].tolist(), *named, columns["packet_bytes"].tolist()


def _among(numbers: np.ndarray, names: list[Any]) -> list[int]:
    if int(numbers.min()) < 0 or int(numbers.max()) >= len(names):
        raise ValueError(f"number {int(numbers.max())} among {names}")
    return numbers.tolist()


def _numbers(values: list[float]) -> list[float | None]:
    """JSON has neither NaN nor infinity."""
    return [value if math.isfinite(value) else None for value in values]


def _measures(block: Block) -> tuple[list[Any], ...]:
    tasks: list[list[Any]] = block.shared["tasks"]
    return (
        [int(block.shared["round"])] * block.lines,
        _clients(block),
        [tasks[index][0] for index in _among(block.columns["task"], tasks)],
        block.columns["examples"].tolist(),
        *(
            _numbers(block.columns[name].tolist() if name in block.columns else [math.nan] * block.lines)
            for name in NAMES
        ),
        [_part(block.shared.get("part", TEST))] * block.lines,
    )


def _confusion(block: Block) -> tuple[list[Any], ...]:
    tasks: list[list[Any]] = block.shared["tasks"]
    columns = block.columns
    task = _among(columns["task"], tasks)
    several = [bool(one[2]) for one in tasks]
    label, truth, predicted = (columns[key].tolist() for key in ("label", "truth", "predicted"))
    return (
        [int(block.shared["round"])] * block.lines,
        _clients(block),
        [tasks[index][0] for index in task],
        [_named(tasks[of][1], index) if several[of] else None for of, index in zip(task, label, strict=True)],
        *(
            [index if several[of] else _named(tasks[of][1], index) for of, index in zip(task, column, strict=True)]
            for column in (truth, [None if index < 0 else index for index in predicted])
        ),
        columns["count"].tolist(),
        [_part(block.shared.get("part", TEST))] * block.lines,
    )


def _training(block: Block) -> tuple[list[Any], ...]:
    names: list[str] = block.shared["metrics"]
    return (
        [int(block.shared["round"])] * block.lines,
        _clients(block),
        [escaped(names[index]) for index in _among(block.columns["metric"], names)],
        _numbers(block.columns["value"].tolist()),
        _numbers(block.columns["examples"].tolist()),
    )


def _clients(block: Block) -> list[int | None]:
    return [None if client == ALL_CLIENTS else client for client in block.columns["client"].tolist()]


def _named(names: list[str], index: int | None) -> str | int | None:
    """The name of a class, or its number."""
    if index is None or not names:
        return index
    return escaped(names[index])


METRICS = Table(
    "rounds",
    ("round", "client", "task", "metric", "value", "score", "higher_is_better", "examples", "seconds", "part"),
    _metrics,
    ("simulated_seconds", "simulated_joules"),
)
LEDGER = Table("ledger", ("round", "client", "direction", "purpose", "packet_bytes"), _transfers, saved=("ideal_bits",))
MEASURES = Table("measures", ("round", "client", "task", "examples", *NAMES, "part"), _measures)
"""Metrics beside the primary one; null where a task has no such metric, or the metric no value."""
CONFUSION = Table("confusion", ("round", "client", "task", "label", "truth", "predicted", "count", "part"), _confusion)
"""Examples by their class and the predicted one, cells that are not empty; ``label`` where a task has several, each
with its own counts; ``predicted`` is null where the output is no number."""
TRAINING = Table("training", ("round", "client", "metric", "value", "examples"), _training)
"""Metrics of the training of each client whose update was used, and their mean over all these clients' examples."""
TABLES = (METRICS, LEDGER, MEASURES, CONFUSION, TRAINING)


def rows(table: Table, blocks: Iterator[Block]) -> Iterator[Row]:
    """A dict a line."""
    for block in blocks:
        for values in zip(*table.values(block), strict=True):
            yield dict(zip(table.names(block), values, strict=True))


def read_table(folder: Path, table: Table, mark: Mark | None = None) -> Iterator[Block]:
    """The blocks of a run's table; ``mark`` as for ``blocks.read``.

    Raises:
        DamagedFile: a byte that is not as it was written, or a file that does not end at ``mark``.
    """
    return read(folder / table.file, table.name, mark)
