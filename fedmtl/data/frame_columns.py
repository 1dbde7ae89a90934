"""Columns of a table by their role: clients, labels, parts and groups, each checked."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.core.random import SERVER
from fedmtl.core.suggest import did_you_mean
from fedmtl.data.columns import as_table, check_columns, texts_of
from fedmtl.data.task_checks import check_name

LISTED = 5
"""Clients that an error names."""


class Roles(NamedTuple):
    """Columns by their role."""

    client: str
    tasks: tuple[str, ...]
    features: Sequence[str] | None
    text: str | None
    split: str | None
    groups: str | None


def join_tables(tables: Mapping[Any, Any], client: str) -> Any:
    """The tables of clients as one, with a column of clients.

    Raises:
        ValueError: no table, or a column that one client lacks.
    """
    found = {key: as_table(table) for key, table in tables.items()}
    if not found:
        raise ValueError("from_frame needs at least one client, got none.")
    first, wanted = next((key, list(table.columns)) for key, table in found.items())
    for key, table in found.items():
        names = list(table.columns)
        for name in wanted:
            if name not in names:
                raise ValueError(
                    f"Column {name!r} is missing at client {shown(key)}, and client {shown(first)} has it; add it, or "
                    f"leave it out at all clients.{did_you_mean(name, names)}"
                )
        for name in names:
            if name not in wanted:
                raise ValueError(
                    f"Column {name!r} is missing at client {shown(first)}, and client {shown(key)} has it; add it, or "
                    f"leave it out at all clients.{did_you_mean(name, wanted)}"
                )
    if client in wanted:
        raise ValueError(f"client={client!r} is a column of the tables already; give another name, or one table.")
    from pandas import concat

    return concat([table.assign(**{client: key}) for key, table in found.items()], ignore_index=True)


def roles_of(names: Sequence[str], given: Roles) -> Roles:
    """The roles, with all features.

    Raises:
        ValueError: a column that is not there, one with two roles, no task, or no input.
    """
    if not given.tasks:
        raise ValueError("from_frame needs at least one task, got tasks=(); name the columns of labels.")
    if given.text is not None and given.features is not None:
        raise ValueError(
            f"Inputs are features or a text, got features={list(given.features)} and text={given.text!r}; give one."
        )
    if isinstance(given.features, str):
        raise ValueError(f"features is a list of columns, got {given.features!r}; write [{given.features!r}].")
    by_role = [(given.client, "the clients"), *((name, "a task") for name in given.tasks)]
    by_role += [(name, "a feature") for name in given.features or ()]
    others = {"the text": given.text, "the split": given.split, "the groups": given.groups}
    by_role += [(name, what) for what, name in others.items() if name]
    check_columns("The table", [name for name, _ in by_role], names)
    for task in given.tasks:
        check_name(task)
    role: dict[str, str] = {}
    for name, what in by_role:
        if name in role:
            raise ValueError(f"Column {name!r} is {role[name]} and {what}; a column has one role.")
        role[name] = what
    if given.text is not None:
        return given
    features = [name for name in names if name not in role] if given.features is None else list(given.features)
    if not features:
        raise ValueError("The table has no column left for features; name them, features=[…], or a text, text=….")
    return given._replace(features=features)


def owners_of(series: Any) -> NDArray[Any]:
    """The client of each row: whole numbers from 0, or names, [N] objects.

    Raises:
        ValueError: a row without a client.
    """
    names = texts_of(series)
    gaps = np.array([name is None or not name.strip() for name in names], bool)
    if gaps.any():
        raise ValueError(
            f"Column {series.name!r}: {int(gaps.sum())} row(s) have no client, first row "
            f"{int(np.flatnonzero(gaps)[0])}; name it in each row (a name such as NA reads as an empty cell), or drop "
            "these rows."
        )
    if getattr(series.dtype, "kind", "O") not in "iuf":
        return names
    numbers = [int(name) if name.isdecimal() else -1 for name in names]
    return np.array([*numbers, None], object)[:-1] if 0 <= min(numbers) and max(numbers) < SERVER else names


def labels_of(name: str, series: Any, missing: Any) -> Any:
    """A column of labels, with gaps where not labelled.

    Raises:
        ValueError: no label, or one value alone.
    """
    if hasattr(series.dtype, "categories"):
        series = series.astype(object)
    if missing is not None and missing == missing:
        series = series.mask((series == missing).fillna(False).astype(bool))
    known = series[~series.isna()]
    if not len(known):
        raise ValueError(f"Task {name!r} has no label in any row; leave it out.")
    values = known.unique()
    if len(values) == 1:
        raise ValueError(
            f"Task {name!r} has one value alone, {shown(values.tolist()[0])}, in all {len(known)} labelled rows, which "
            "leaves nothing to learn; leave it out, or label rows of another value too."
        )
    return series


def refuse_short(owner: NDArray[Any], labelled: NDArray[np.bool_], split: Any, groups: Any) -> None:
    """Refuse clients that cannot be trained and tested.

    Raises:
        ValueError: a client without a labelled row; one with a single row, or group, where these are divided.
    """
    keys, number = np.unique(owner, return_inverse=True)
    rows = np.bincount(number[labelled], minlength=len(keys))
    _refuse(keys[rows == 0], "no labelled row of any task; label some, or leave the client out")
    if split is not None:
        return
    _refuse(
        keys[rows == 1],
        "one labelled row, which cannot be trained and tested on; label another, leave the client out, or divide rows "
        "by a column, split=…",
    )
    if groups is not None:
        gaps = np.asarray(groups.isna(), bool) & labelled
        if gaps.any():
            raise ValueError(
                f"Column {groups.name!r}: {int(gaps.sum())} row(s) have no group, first row "
                f"{int(np.flatnonzero(gaps)[0])}; name it in each row."
            )
        kinds = np.unique(groups.astype(str).to_numpy(dtype=object)[labelled], return_inverse=True)[1]
        pairs = np.unique(np.stack([number[labelled], kinds]), axis=1)[0]
        _refuse(
            keys[np.bincount(pairs, minlength=len(keys)) == 1],
            f"one group of {groups.name!r}, which is not divided; leave the client out, or leave groups out",
        )


def _refuse(keys: NDArray[Any], what: str) -> None:
    if len(keys):
        named = ", ".join(shown(key) for key in keys[:LISTED]) + (", …" if len(keys) > LISTED else "")
        raise ValueError(f"Client{'s' * (len(keys) > 1)} {named} {'have' if len(keys) > 1 else 'has'} {what}.")


def parts_of(owner: NDArray[Any], labels: Mapping[str, Any], split: Any) -> dict[Any, Any]:
    """Client -> what ``from_arrays`` takes, with numbers of rows in place of inputs.

    Raises:
        ValueError: a split that is neither "train" nor "test".
    """
    tested = None
    if split is not None:
        words = np.array([str(word).strip().lower() for word in split], object)
        wrong = np.flatnonzero(~np.isin(words, ("train", "test")))
        if len(wrong):
            raise ValueError(
                f"Column {split.name!r} says 'train' or 'test' in each row, got {shown(split.iloc[wrong[0]])} in row "
                f"{wrong[0]}."
            )
        tested = words == "test"
    keys, number = np.unique(owner, return_inverse=True)
    order = np.argsort(number, kind="stable")
    clients: dict[Any, Any] = {}
    for key, rows in zip(keys.tolist(), np.split(order, np.cumsum(np.bincount(number))[:-1]), strict=True):
        owned = [name for name, y in labels.items() if y.iloc[rows].notna().any()]
        parts = {"": rows} if tested is None else {"train": rows[~tested[rows]], "test": rows[tested[rows]]}
        made = {}
        for part, some in parts.items():
            own = {name: labels[name].iloc[some].reset_index(drop=True) for name in owned}
            made[part] = (some[:, None].astype(np.int64), own)
        clients[key] = made[""] if tested is None else made
    return clients
