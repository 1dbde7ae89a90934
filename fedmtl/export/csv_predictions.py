"""Predictions as CSV, for examples of a CSV."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

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
        client: name or id.
        file: a CSV with the features of the run's data, in their order; of a run whose data is a table, a CSV or
            Parquet file with the table's columns, by name.
        allow, state: as for ``load_result``.

    Raises:
        OSError: a file that cannot be read.
        ValueError: an unknown client, a run or a file that does not fit.
    """
    run = read_finished(folder, allow, state)
    models = TrainedModels(run)
    number = models.number(client)  # before a long file is read
    if run.recipe is None:
        x = read_examples(file, run.schema.input_shape)
        return csv_of(models.predict(number, x).table()), len(x)
    with named_table(str(file)):
        x = read_table(str(file), "", run.recipe.client)
        return csv_of(models.predict(number, x).table()), len(x)


def csv_of(table: Mapping[str, NDArray[Any]]) -> str:
    """Return columns as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    return text.getvalue()
