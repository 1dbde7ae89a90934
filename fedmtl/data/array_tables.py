"""Tables in place of arrays: columns that mean the same at all clients, and rows in one order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def columns_of(table: Any) -> list[Any] | None:
    """The names of a table's columns, where it has several and they are more than numbers of places."""
    if not (hasattr(table, "columns") and hasattr(table, "to_numpy")):
        return None
    names = list(table.columns)
    return names if len(names) > 1 and names != list(range(len(names))) else None


def check_alike(what: str, tables: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """Refuse tables of which a column means one thing at one client and another at the next."""
    for where, names in tables:
        first, wanted = tables[0]
        if len(names) == len(wanted) and names != wanted:  # unlike numbers are refused by their shapes
            place = next(n for n, (one, other) in enumerate(zip(names, wanted, strict=True)) if one != other)
            raise ValueError(
                f"{where}, {what}: column {place} is {names[place]!r}, and that of {first} is {wanted[place]!r}; "
                "select the same columns in one order, table[names], or give table.to_numpy() where places alone count."
            )


def check_finite_columns(where: str, names: list[Any], x: NDArray[Any]) -> None:
    """Refuse NaN and infinity in a table by the column's name."""
    bad = ~np.isfinite(x)
    if bad.any():
        column = int(np.flatnonzero(bad.any(0))[0])
        rows = np.flatnonzero(bad[:, column])
        raise ValueError(
            f"{where}: inputs hold NaN or infinity in {len(rows)} row(s) of column {names[column]!r}, first row "
            f"{rows[0]}; drop or impute them."
        )


def order_of(table: Any) -> Any:
    index = getattr(table, "index", None)
    return index if hasattr(index, "equals") and hasattr(index, "sort_values") else None


def same_order(one: Any, other: Any) -> bool:
    """True where two indices are alike, or unlike for another reason than their order."""
    return bool(one.equals(other)) or not bool(one.sort_values().equals(other.sort_values()))
