"""Predictions as CSV, for examples of a CSV."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.columns import texts_of
from fedmtl.data.table_file import named_table, read_table
from fedmtl.export.csv_examples import read_examples
from fedmtl.export.finished import read_finished
from fedmtl.export.trained import TrainedModels


def predict_csv(
    folder: Path, client: str, file: Path, allow: Iterable[str] = (), state: Path | None = None
) -> tuple[str, int]:
    """Return a client's predictions for the examples of a file as CSV, and the number of examples.

    Args:
        folder: of a finished run.
        client: name or id; empty: of each row by the client that its column of clients names.
        file: a CSV with the features of the run's data, in their order; of a run whose data is a table, a CSV or
            Parquet file with the table's columns, by name.
        allow, state: as for ``load_result``.

    Raises:
        OSError: a file that cannot be read.
        ValueError: an unknown client, or none where the file names none; a run or a file that does not fit.
    """
    run = read_finished(folder, allow, state)
    models = TrainedModels(run)
    if run.schema.forms:
        raise ValueError(
            f"The run's inputs have names, {', '.join(run.schema.forms)}, which a CSV does not hold; in Python, "
            f"load_result({str(folder)!r}).predict(client, {{name: examples}})."
        )
    if not client:
        if run.recipe is None:
            raise ValueError("predict needs a client, by its name or its number: add --client NAME.")
        with named_table(str(file)):
            x = read_table(str(file), "", run.recipe.client)
            return csv_of(by_row(models, x, run.recipe.client)), len(x)
    number = models.number(client)  # before a long file is read
    if run.recipe is None:
        x = read_examples(file, run.schema.input_shape)
        return csv_of(models.predict(number, x).table()), len(x)
    with named_table(str(file)):
        x = read_table(str(file), "", run.recipe.client)
        return csv_of(models.predict(number, x).table()), len(x)


def by_row(models: TrainedModels, rows: Any, column: str) -> dict[str, NDArray[Any]]:
    """Return the predictions of each row by the client that it names: the column of clients, and those of all tasks.

    Entries of tasks that a row's client does not own are empty.

    Args:
        models: of the run.
        rows: a table of pandas.
        column: of the clients.

    Raises:
        ValueError: no such column, a row without a client, or one that the run does not have.
    """
    if column not in rows.columns:
        raise ValueError(
            f"The table has no column {column!r}, which names the client of each row; add it, or name one client for "
            "all rows: --client NAME."
        )
    names = texts_of(rows[column])
    gaps = np.flatnonzero([name is None or not name.strip() for name in names])
    if len(gaps):
        raise ValueError(
            f"Column {column!r}: row {gaps[0]} names no client; name it, or add --client NAME for all rows."
        )
    found: dict[str, NDArray[Any]] = {column: names}
    places: dict[str, NDArray[np.int64]] = {name: np.flatnonzero(names == name) for name in dict.fromkeys(names)}
    numbers = {name: models.number(name) for name in places}  # before any model is made
    for name, own in places.items():
        for key, values in models.predict(numbers[name], rows.iloc[own]).table().items():
            found.setdefault(key, np.full(len(rows), "", object))[own] = values
    return found


def csv_of(table: Mapping[str, NDArray[Any]]) -> str:
    """Return columns as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    return text.getvalue()
