"""Numbers as CSV, in full precision."""

import csv
import io
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

CsvRows = Sequence[Mapping[str, Any]]
"""A record for each thing that a figure or a table shows."""


def to_csv(numbers: CsvRows) -> str:
    """A header, then a line for each record; empty where there is no number."""
    out = io.StringIO()
    columns = list(dict.fromkeys(key for record in numbers for key in record))
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in record.items()} for record in numbers)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, float) and not isfinite(value):
        return ""
    return int(value) if isinstance(value, float) and value.is_integer() else value
