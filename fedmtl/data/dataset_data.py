"""A data set of torch or Hugging Face as a federation: dealt to clients, with tasks named by columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.data.arrays import from_arrays
from fedmtl.data.base import Federation
from fedmtl.data.dataset_columns import GatheredInputs, blocks, check_columns, labels_in, source_of
from fedmtl.data.disk import some_rows
from fedmtl.data.partition import check_fraction
from fedmtl.data.partitions.base import ExampleFacts, Partitioner, as_partition, deal
from fedmtl.data.partitions.flower import FlowerPartition
from fedmtl.data.partitions.iid import IID
from fedmtl.data.partitions.natural_ids import NaturalIds
from fedmtl.tasks.base import Task
from fedmtl.tasks.multiclass import MultiClass


@dataclass(frozen=True, eq=False)
class DatasetData:
    """Columns of a data set, read by ``from_datasets``, which makes it; ``load`` deals them to clients."""

    x: Any
    """Inputs of all rows, in memory or on disk."""
    labels: Mapping[str, NDArray[Any]]
    """Task -> labels of all rows: numbers, NaN where not labelled, or texts."""
    facts: ExampleFacts
    partition: Partitioner
    clients: int
    tasks: Mapping[str, Task]
    """Kinds of tasks, of those that are not inferred."""
    test_fraction: float

    def load(self, seed: int) -> Federation:
        """The federation; ``seed`` decides how rows are dealt, and which of a client's are tested on.

        Raises:
            ValueError: what the partition, ``from_arrays`` or ``Federation`` refuses, or a client without a label.
        """
        dealt = deal(self.partition, self.facts, self.clients, seed)
        names: Sequence[Any] = dealt.names or range(len(dealt.rows))
        every = tuple(sorted(self.labels))
        clients = {}
        for client, rows in enumerate(dealt.rows):
            owned = dealt.owned[client] if dealt.owned else every
            rows = np.sort(rows)
            known = {task: ~_unlabelled(self.labels[task][rows]) for task in owned}
            labelled = np.any(list(known.values()), axis=0)
            if not labelled.any():
                raise ValueError(
                    f"Client {names[client]} has {len(rows)} example(s) and no label of {', '.join(owned)}; leave it "
                    "out, or take another partition."
                )
            x = some_rows(self.x, rows[labelled])
            if dealt.changes:
                x = dealt.changes[client](np.asarray(x, np.float32))
            y = {task: self.labels[task][rows[labelled]] for task in owned if known[task].any()}
            clients[names[client]] = (x, y)
        tasks = {name: task for name, task in self.tasks.items() if any(name in y for _, y in clients.values())}
        return from_arrays(clients, tasks or None, self.test_fraction, float("nan")).load(seed)


def from_datasets(
    dataset: Any,
    tasks: Sequence[str] | Mapping[str, Task | None] | str,
    inputs: str | Sequence[str] = "x",
    *,
    partition: Any = None,
    clients: int = 0,
    client: str | None = None,
    by: str | None = None,
    columns: Sequence[str] = (),
    test_fraction: float = 0.2,
    missing: Any = None,
    store: str | Path | None = None,
) -> DatasetData:
    """A data set from one of torch or Hugging Face, in one call.

    ``from_datasets(dataset, ["digit"], "image", partition="Dirichlet(0.3)", clients=20)``.

    Args:
        dataset: a map-style data set of torch, whose rows are mappings or tuples; one of Hugging Face; or the folder
            of one, as written by ``save_to_disk``.
        tasks: the columns of labels; their kinds are inferred by the rules of ``from_arrays``, or given, ``{"digit":
            MultiClass(10), "worth": None}``. Names of classes are kept: texts, ``ClassLabel`` of Hugging Face, and
            ``classes`` of torchvision.
        inputs: the column of inputs, numbers or images of one shape; or several columns of one number each.
        partition: how rows are dealt to clients, by name or as an object, see ``fedmtl list partitions``; also one of
            ``flwr_datasets``. None: ``NaturalIds()`` with ``client``, else ``IID()``.
        clients: number of clients; 0 where the partition knows it.
        client: the column of natural clients.
        by: the column of classes that partitions go by; None: the first task.
        columns: names of what rows hold, where they are tuples; none: "x" and the tasks.
        test_fraction: the part of each client's rows that is tested on.
        missing: a label that stands for "not labelled", beside None and NaN.
        store: a folder in which inputs are written and from where batches are read, for those larger than memory;
            None: they are held in memory.

    Raises:
        ValueError: a stream, no such column, texts as inputs, inputs of unlike shape, a partition that is impossible,
            a client without a label, and what ``from_arrays`` refuses.
    """
    check_fraction("from_datasets", test_fraction)
    named = [tasks] if isinstance(tasks, str) else tasks
    given: dict[str, Task | None] = dict(named) if isinstance(named, Mapping) else dict.fromkeys(named)
    if not given:
        raise ValueError("from_datasets needs a task: name a column of labels, tasks=['label'].")
    own = [inputs] if isinstance(inputs, str) else list(inputs)
    source = source_of(dataset, columns, list(given))
    beside = [name for name in (client, by) if name is not None]
    check_columns(source, [*own, *given, *beside])
    if twice := [name for name in own if name in given]:
        raise ValueError(f"from_datasets: the column {twice[0]!r} is an input and a task; it is one of them.")
    gathered = GatheredInputs(len(source.dataset), None if store is None else _file(Path(store)))
    values: dict[str, list[Any]] = {name: [] for name in dict.fromkeys([*given, *beside])}
    try:
        for start, block in blocks(source, list(dict.fromkeys([*own, *values]))):
            gathered.put(start, [block[name] for name in own])
            for name, kept in values.items():
                kept += block[name]
        everything = {name: labels_in(column) for name, column in values.items()}
        if client is not None and (gaps := int(_unlabelled(everything[client]).sum())):
            raise ValueError(f"from_datasets: {gaps} row(s) have no client in the column {client!r}; give them one.")
        labels = {name: _without(everything[name], missing) for name in given}
        kinds = {name: task or _named(source.dataset, name, labels[name], len(given)) for name, task in given.items()}
        x = gathered.done()
        found = DatasetData(
            x,
            labels,
            ExampleFacts(
                len(x),
                _classes(everything[by or next(iter(given))]),
                None if client is None else everything[client],
                tuple(sorted(given)),
                x.shape[1:],
            ),
            _rule(partition, client, everything),
            clients,
            {name: task for name, task in kinds.items() if task is not None},
            test_fraction,
        )
        found.load(0)  # What cannot be loaded is refused here, where the data set is at hand.
    except BaseException:
        gathered.abandon()
        raise
    return found


def _rule(partition: Any, client: str | None, columns: Mapping[str, NDArray[Any]]) -> Partitioner:
    """The partition that is given, one of Flower's, or the usual one."""
    if partition is None:
        return NaturalIds() if client is not None else IID()
    return FlowerPartition(partition, columns) if hasattr(partition, "load_partition") else as_partition(partition)


def _file(folder: Path) -> Path:
    path = folder / "inputs.npy"
    if path.exists():
        raise ValueError(
            f"from_datasets: {path} exists, maybe as another data set's inputs; give another folder, or remove it."
        )
    return path


def _unlabelled(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows without a label, [N]."""
    if y.dtype == object:
        return np.array([value is None or value != value for value in y], bool)
    gaps = np.isnan(y) if y.dtype.kind == "f" else np.zeros(y.shape, bool)
    return np.asarray(gaps.reshape(len(y), -1).all(1), bool)


def _without(y: NDArray[Any], missing: Any) -> NDArray[Any]:
    """Labels with NaN, or None among texts, in place of ``missing``."""
    if missing is None or missing != missing:
        return y
    gaps = np.asarray(y == missing)
    if not gaps.any():
        return y
    found = y.copy() if y.dtype == object else y.astype(np.float64)
    found[gaps] = None if y.dtype == object else np.nan
    return found


def _classes(y: NDArray[Any]) -> NDArray[np.int64] | None:
    """A class for each row, those without a label one of their own; None for fractions and several labels."""
    if y.ndim > 1 or (y.dtype.kind == "f" and not np.array_equal(y[y == y], np.floor(y[y == y]))):
        return None
    texts = np.array([str(value) for value in y]) if y.dtype == object else y
    return np.unique(texts, return_inverse=True)[1].astype(np.int64)


def _named(dataset: Any, name: str, y: NDArray[Any], tasks: int) -> Task | None:
    """The classes of a column whose data set names them; None where it does not."""
    features = getattr(dataset, "features", None)
    names = getattr(features[name], "names", None) if features is not None and name in features else None
    if names is None and tasks == 1:
        names = getattr(dataset, "classes", None)
    if not isinstance(names, list | tuple) or len(names) < 2 or not all(isinstance(each, str) for each in names):
        return None
    whole = y.ndim == 1 and y.dtype.kind in "iuf" and not np.isnan(y).all()
    if not whole or np.nanmax(y) >= len(names) or np.nanmin(y) < 0:
        return None
    if len(set(names)) < len(names):
        raise ValueError(f"from_datasets: the classes of {name!r} have names that occur twice: {shown(list(names))}.")
    return MultiClass(len(names), tuple(names))
