"""Columns of a map-style data set of torch, or of one of Hugging Face, read once and some rows at a time."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean
from fedmtl.data.disk_open import of_file

ROWS = 256
"""Rows that are read at once."""


class RowSource(NamedTuple):
    """A data set with a length, whose rows have named columns."""

    dataset: Any
    names: tuple[str, ...]
    """Names of the columns."""
    by_table: bool
    """True for Hugging Face's, whose rows are sliced; else each is got, a mapping or a tuple in the order of names."""


def source_of(dataset: Any, columns: Sequence[str], tasks: Sequence[str]) -> RowSource:
    """A data set as a source of columns.

    Args:
        dataset: of torch or Hugging Face, or the folder of one of the latter.
        columns: names of what a row holds, where rows are tuples; empty: "x", and the tasks.
        tasks: columns of labels.

    Raises:
        ValueError: a stream, a folder without a data set, an empty one, or rows without names.
    """
    found = _loaded(Path(dataset)) if isinstance(dataset, str | Path) else dataset
    kind = type(found).__name__
    if isinstance(found, Mapping) and found and all(hasattr(one, "column_names") for one in found.values()):
        raise ValueError(f"from_datasets takes one data set, got parts, {', '.join(found)}; give one, dataset[name].")
    if isinstance(found, IterableDataset) or not (hasattr(found, "__getitem__") and hasattr(found, "__len__")):
        raise ValueError(
            f"from_datasets takes a data set with a length and rows by number, got a {kind}, a stream that has none; "
            "write its rows to a list, or save it with datasets.Dataset.from_generator(…).save_to_disk(folder)."
        )
    try:
        count = len(found)
    except (TypeError, NotImplementedError):
        raise ValueError(f"from_datasets: len() of this {kind} fails, and partitions need it; define it.") from None
    if not count:
        raise ValueError(f"from_datasets: this {kind} has no row.")
    if hasattr(found, "column_names") and hasattr(found, "features"):
        table: Any = found
        return RowSource(table, tuple(table.column_names), True)
    first = found[0]
    if isinstance(first, Mapping):
        return RowSource(found, tuple(map(str, first)), False)
    if not isinstance(first, tuple | list):
        raise ValueError(f"from_datasets: a row is a mapping of columns or a tuple, got {shown(first)}.")
    names = tuple(columns) or ("x", *tasks)
    if len(names) != len(first):
        raise ValueError(
            f"from_datasets: rows are tuples of {len(first)}, and the names are {', '.join(names)}; name each, such as "
            "columns=('x', 'label')."
        )
    return RowSource(found, names, False)


def _loaded(folder: Path) -> Any:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    from datasets import load_from_disk

    if not folder.is_dir():
        raise ValueError(f"from_datasets: there is no folder {shown(str(folder))}; it is written by save_to_disk.")
    try:
        return load_from_disk(str(folder))
    except (FileNotFoundError, ValueError, OSError) as error:
        line = str(error).strip().splitlines()[0][:200]
        raise ValueError(f"from_datasets: {folder} holds no data set of Hugging Face ({line}).") from None


def check_columns(source: RowSource, wanted: Sequence[str]) -> None:
    """Refuse names of columns that are not there.

    Raises:
        ValueError: it gives those that are.
    """
    for name in wanted:
        if name not in source.names:
            raise ValueError(
                f"from_datasets: there is no column {name!r}; there are {', '.join(source.names)}."
                f"{did_you_mean(name, source.names)}"
            )


def blocks(source: RowSource, wanted: Sequence[str]) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    """The first row, and column -> values, of some rows after others."""
    count = len(source.dataset)
    table = source.dataset.select_columns(list(wanted)) if source.by_table else None
    for start in range(0, count, ROWS):
        stop = min(start + ROWS, count)
        if table is not None:
            found = table[start:stop]
            yield start, {name: list(found[name]) for name in wanted}
            continue
        rows = [source.dataset[row] for row in range(start, stop)]
        try:
            yield start, {name: [_value(source, row, name) for row in rows] for name in wanted}
        except (KeyError, IndexError, TypeError):
            raise ValueError(
                f"from_datasets: one of the rows {start} to {stop - 1} lacks a column of {', '.join(wanted)}; all have "
                "the same."
            ) from None


def _value(source: RowSource, row: Any, name: str) -> Any:
    return row[name] if isinstance(row, Mapping) else row[source.names.index(name)]


class GatheredInputs:
    """Inputs of N rows, gathered in memory, or in a file that has its name once it is whole.

    Args:
        count: N.
        path: the file to write; None for memory.
    """

    def __init__(self, count: int, path: Path | None) -> None:
        self._count, self._path = count, path
        self._first: NDArray[Any] | None = None
        """The first rows, whose shape and type all have."""
        self._array = np.empty(0)
        self._file: IO[bytes] | None = None

    def put(self, start: int, columns: Sequence[list[Any]]) -> None:
        """Take the values of the next rows, of one column, or of several of one number each.

        Raises:
            ValueError: texts, or rows of unlike shape or, in a file, of unlike type.
        """
        parts = [_numbers(start, values) for values in columns]
        if len(parts) > 1 and any(part.size != len(part) for part in parts):
            raise ValueError("from_datasets: several columns of inputs hold one number a row each; name one column.")
        found = parts[0] if len(parts) == 1 else np.stack([part.reshape(len(part)) for part in parts], 1)
        found = found[:, None] if found.ndim == 1 else found
        first = self._begin(found) if self._first is None else self._first
        if found.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"from_datasets: inputs from row {start} on have shape {found.shape[1:]}, those before "
                f"{first.shape[1:]}; pad or cut them to one shape."
            )
        if self._file is None:
            self._array = self._array.astype(np.result_type(found.dtype, self._array.dtype), copy=False)
            self._array[start : start + len(found)] = found
            return
        if np.result_type(found.dtype, first.dtype) != first.dtype:
            raise ValueError(
                f"from_datasets: inputs from row {start} on are {found.dtype}, those before {first.dtype}; give all "
                "one type."
            )
        self._file.write(np.ascontiguousarray(found, first.dtype).data)

    def _begin(self, found: NDArray[Any]) -> NDArray[Any]:
        self._first, shape = found[:1].copy(), (self._count, *found.shape[1:])
        if self._path is None:
            self._array = np.empty(shape, found.dtype)
        else:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path.with_suffix(".part"), "wb")  # noqa: SIM115
            header = {"descr": np.lib.format.dtype_to_descr(found.dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self._file, header)
        return self._first

    def done(self) -> Any:
        """The array, or the one on disk."""
        if self._path is None or self._file is None:
            return self._array
        self._file.close()
        self._path.with_suffix(".part").rename(self._path)
        return of_file("from_datasets", self._path)

    def abandon(self) -> None:
        """Leave no file."""
        if self._path is not None and self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)
            self._path.with_suffix(".part").unlink(missing_ok=True)


def _numbers(start: int, values: list[Any]) -> NDArray[Any]:
    plain = [_plain(value) for value in values]
    try:
        found = np.asarray(plain)
    except ValueError:
        found = np.empty(0, object)
    if found.dtype.kind in "biuf":
        return found
    if any(isinstance(value, str) for value in values):
        raise ValueError(
            "from_datasets: inputs are texts; take from_frame(dataset.to_pandas(), client, tasks, text=column), or "
            "give tokens."
        )
    shapes = sorted({np.shape(value) for value in plain}, key=str)
    what = f"of shapes {', '.join(map(str, shapes[:3]))}" if len(shapes) > 1 else f"such as {shown(values[0])}"
    raise ValueError(f"from_datasets: inputs from row {start} on are {what}; give numbers of one shape.")


def _plain(value: Any) -> Any:
    """A tensor or an image as an array; other values as they are."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    return np.asarray(value) if hasattr(value, "__array_interface__") else value


def labels_in(values: list[Any]) -> NDArray[Any]:
    """Labels of all rows, [N, …]: numbers with NaN for None, or texts as objects."""
    plain = [_label(value) for value in values]
    if any(isinstance(value, str) for value in plain):
        return np.array([*plain, None], object)[:-1]
    known = next((value for value in plain if value is not None), float("nan"))
    gap = np.full(np.shape(known), np.nan)
    return np.asarray([gap if value is None else value for value in plain])


def _label(value: Any) -> Any:
    value = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    return value.item() if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0 else value
