"""Columns of a table: what they hold, with errors that name the column and the client."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean
from fedmtl.data.numbers import is_numeral, to_numbers
from fedmtl.tasks.precision import LARGEST

CATEGORIES = 1000
"""Distinct texts of a column up to which it is one-hot."""

NUMBER, CATEGORY = "number", "category"


def as_table(table: Any) -> Any:
    """A table of pandas with texts as names of its columns, and rows numbered from 0; the caller's is left as it is.

    Raises:
        ValueError: no table, or two columns of one name.
    """
    if not hasattr(table, "iloc") and hasattr(table, "to_pandas"):
        table = table.to_pandas()  # polars and pyarrow
    if not (hasattr(table, "iloc") and hasattr(table, "columns")):
        raise ValueError(f"A table is a DataFrame, of pandas or polars, got a {type(table).__name__}; make one of it.")
    names = [str(name) for name in table.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"The table has {names.count(twice[0])} columns {twice[0]!r}; rename or drop all but one.")
    return table.reset_index(drop=True).set_axis(names, axis=1)


def check_columns(what: str, wanted: Iterable[str], there: Sequence[str]) -> None:
    """Refuse names that are no columns.

    Raises:
        ValueError: it names the column, those that there are, and the nearest.
    """
    for name in wanted:
        if name not in there:
            listed = ", ".join(map(repr, there[:20])) + (", …" if len(there) > 20 else "")
            raise ValueError(f"{what} has no column {shown(name)}; it has {listed}.{did_you_mean(name, there)}")


def where_missing(gaps: NDArray[np.bool_], owner: NDArray[Any] | None) -> str:
    """The rows of a gap, and their client, for a message."""
    rows = np.flatnonzero(gaps)
    if owner is None:
        return f"{len(rows)} row(s), first row {rows[0]}"
    own = owner == owner[rows[0]]
    if gaps[own].all():
        return f"all {int(own.sum())} rows of client {shown(owner[rows[0]])}"
    return f"{int(gaps[own].sum())} row(s) of client {shown(owner[rows[0]])}, first row {rows[0]}"


def kind_of(name: str, series: Any, owner: NDArray[Any]) -> str:
    """The kind of a feature: a number (also true or false), or a category.

    Raises:
        ValueError: dates and other objects, numbers at one client and texts at another, or texts that are no
            categories because hardly any is there twice.
    """
    if hasattr(series.dtype, "categories"):
        series = series.astype(object)
    elif series.dtype.kind in "biuf":
        return NUMBER
    known = ~np.asarray(series.isna(), bool)
    values, owners = series.to_numpy(dtype=object)[known], owner[known]
    if not len(values):
        return NUMBER
    is_text = np.array([isinstance(value, str) for value in values])
    is_number = np.array([isinstance(value, bool | int | float | np.bool_ | np.number) for value in values])
    if not (is_text | is_number).all():
        value = values[~(is_text | is_number)][0]
        raise ValueError(
            f"Column {name!r} holds a {type(value).__name__}, {shown(str(value))}; features are numbers, texts or true "
            "and false: give a time as a number, (t - t0).dt.days, or leave the column out with features=[…]."
        )
    if is_number.all():
        return NUMBER
    if is_number.any():
        _refuse_mixed(name, owners[is_number][0], owners[is_text][0])
    _check_read_as_texts(name, values, owners)
    distinct, words = len(set(values)), float(np.mean([len(value.split()) for value in values]))
    if distinct > CATEGORIES or (2 * distinct > len(values) and (distinct > 20 or words >= 4)):
        raise ValueError(
            f"Column {name!r} holds {distinct} different texts in {len(values)} rows, such as {shown(values[0][:40])}, "
            f"which are no categories; name it as the text column, text={name!r} (--text), or leave it out with "
            "features=[…] (--features)."
        )
    return CATEGORY


def _refuse_mixed(name: str, numbers_at: Any, texts_at: Any) -> None:
    same = numbers_at == texts_at
    places = (
        f"client {shown(numbers_at)} has both"
        if same
        else f"client {shown(numbers_at)} has numbers, client {shown(texts_at)} texts"
    )
    raise ValueError(f"Column {name!r} holds numbers and texts: {places}; give the column one type at all clients.")


def _check_read_as_texts(name: str, values: NDArray[Any], owners: NDArray[Any]) -> None:
    """Refuse texts that are numbers at one client, and no number at another, as a file with one bad cell has them."""
    number = {value: is_numeral(value) for value in set(values)}
    if not any(number.values()) or all(number.values()):
        return
    is_number = np.array([number[value] for value in values])
    if sum(number.values()) > 20 and 2 * sum(number.values()) > len(number):
        bad = values[~is_number][0]
        raise ValueError(
            f"Column {name!r} holds numbers, and the text {shown(bad)} at client {shown(owners[~is_number][0])}; "
            "correct it, or leave the cell empty."
        )
    rate = {one: is_number[owners == one].mean() for one in dict.fromkeys(owners.tolist())}
    whole = [one for one, share in rate.items() if share == 1 and len(set(values[owners == one])) > 2]
    none = [one for one, share in rate.items() if share == 0]
    if whole and none:
        _refuse_mixed(name, whole[0], none[0])


def numbers_of(name: str, series: Any, owner: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """A column of numbers, NaN where missing.

    Raises:
        ValueError: texts, infinity, or numbers beyond float32.
    """
    kind = getattr(series.dtype, "kind", "O")
    if hasattr(series.dtype, "categories") or kind not in "biuf":
        series = series.astype(object)
        text = [row for row, value in enumerate(series) if isinstance(value, str)]
        if text:  # one bad cell of a file makes texts of all numbers beside it, and is the one to correct
            bad = next((row for row in text if not is_numeral(series.iloc[row])), text[0])
            at = f"row {bad}" if owner is None else f"client {shown(owner[bad])}"
            raise ValueError(
                f"Column {name!r} holds numbers, and the text {shown(series.iloc[bad])} at {at}; correct it."
            )
    found = to_numbers(f"Column {name!r}", series).array.astype(np.float64)
    beyond = np.abs(found) > LARGEST
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        what = "infinity" if np.isinf(found[row]) else f"{found[row]:g}, which is beyond float32"
        at = f"row {row}" if owner is None else f"row {row}, of client {shown(owner[row])}"
        raise ValueError(f"Column {name!r} holds {what} in {at}; correct it, or leave the cell empty.")
    return found


def texts_of(series: Any) -> NDArray[Any]:
    """A column of texts, [N] objects, None where missing; whole numbers without a point."""
    return np.array([_text(value) for value in series.astype(object)] + [None], object)[:-1]


def _text(value: Any) -> str | None:
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
