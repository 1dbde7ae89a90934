"""Examples from a CSV file: a row an example, a column a feature."""

import csv
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.core.file_errors import named_errors
from fedmtl.data.numbers import is_numeral


def read_examples(path: Path, input_shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the examples of a CSV, [N, *input_shape]: int64 where all entries are whole numbers, else float64.

    A first line with an entry that is no number is a header. Features are in the order of the run's data, an example of
    several dimensions row by row.

    Raises:
        OSError: the file cannot be read.
        ValueError: no example, another number of columns, or an entry that is no number; it names the line.
    """
    with named_errors(path), open(path, newline="", encoding="utf-8-sig") as file:
        try:
            lines = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no CSV in UTF-8 ({error}); save it so.") from None
    if lines and not all(map(is_numeral, lines[0][1])):
        del lines[0]
    if not lines:
        raise ValueError(f"{path} holds no example; a line is one, with a number for each feature.")
    width = prod(input_shape)
    values = np.empty((len(lines), width))
    whole = True
    for place, (number, row) in enumerate(lines):
        if len(row) != width:
            raise ValueError(
                f"{path}, line {number}: {len(row)} columns, but an example of the run has {width} features; give "
                "these, in the order of the run's data, and no others."
            )
        try:
            values[place] = [float(entry) for entry in row]
        except ValueError:
            column = next(k for k, entry in enumerate(row) if not is_numeral(entry))
            what = f"{shown(row[column])} is no number" if row[column].strip() else "the entry is empty"
            raise ValueError(
                f"{path}, line {number}, column {column + 1}: {what}; give a number for each feature, as in the run's "
                "data."
            ) from None
        whole = whole and all(_is_whole(entry) for entry in row)
    found = values.reshape(len(lines), *input_shape)
    return found.astype(np.int64) if whole and np.abs(values).max() < 2**53 else found


def _is_whole(entry: str) -> bool:
    return entry.strip().lstrip("+-").isdecimal()
