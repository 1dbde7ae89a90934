"""The way from rows of a table to a model's inputs, as data: a run keeps it, and new rows are read by it."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.data.cleaning import PLAIN, checked_steps
from fedmtl.data.columns import as_table, check_columns, numbers_of, texts_of, where_missing
from fedmtl.data.words import FIRST, tokens

FORMAT = 1
"""Version of the file."""

LONGEST_TEXT = 2**16
"""Tokens of a text at most."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: (number − mean) / std, and whether it was missing."""

    name: str
    mean: float = 0.0
    std: float = 1.0
    indicator: bool = False
    """True: a second input is 1 where the number is missing, which then counts as the mean, and else 0."""
    by_client: tuple[tuple[str, float, float], ...] = ()
    """Client, mean and std, where each client has its own."""

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.name, f"{self.name} is missing") if self.indicator else (self.name,)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one-hot: an input for each; all are 0 for a category that training has not seen."""

    name: str
    categories: tuple[str, ...] = ()
    indicator: bool = False
    """True: a last input is 1 where the category is missing."""

    @property
    def inputs(self) -> tuple[str, ...]:
        missing = (f"{self.name} is missing",) if self.indicator else ()
        return (*(f"{self.name} = {category}" for category in self.categories), *missing)


@dataclass(frozen=True)
class WordColumn:
    """A column of texts, as tokens: 0 after its end, 1 for a word that is not among ``words``, which count from 2."""

    name: str
    words: tuple[str, ...] = ()
    length: int = 1
    """Tokens of a text: longer ones are cut at their end."""
    clean: tuple[str, ...] = PLAIN
    """Steps of cleaning, before words are found."""
    pieces: bool = False
    """True: ``words`` are pieces of words, see ``pieces.py``."""

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(f"{self.name}[{place}]" for place in range(self.length))

    @property
    def vocabulary(self) -> int:
        """Number of different tokens, padding and unknown words among them: the rows of an embedding."""
        return len(self.words) + FIRST


RecipeColumn = NumberColumn | CategoryColumn | WordColumn

_KINDS: dict[str, type[RecipeColumn]] = {"number": NumberColumn, "category": CategoryColumn, "text": WordColumn}


@dataclass(frozen=True)
class TableRecipe:
    """The way from rows of a table to inputs: columns in order, with all that was taken from training rows."""

    client: str
    """The column of clients."""
    columns: tuple[RecipeColumn, ...]
    impute: bool = False
    """True: missing features are filled; False: they are an error."""

    @property
    def inputs_of_example(self) -> tuple[str, ...]:
        """A name for each number of an example."""
        return tuple(name for column in self.columns for name in column.inputs)

    @property
    def text(self) -> WordColumn | None:
        """The text column; None where inputs are numbers."""
        return next((column for column in self.columns if isinstance(column, WordColumn)), None)

    @property
    def by_client(self) -> bool:
        """True where each client standardises by its own numbers."""
        return any(isinstance(column, NumberColumn) and column.by_client for column in self.columns)

    def inputs(self, table: Any, client: str | int | None = None) -> NDArray[Any]:
        """Rows of a table as inputs, [N, inputs]: float32, or int64 for texts.

        Args:
            table: a DataFrame with the recipe's columns, in any order; others are left aside.
            client: whose rows they are, by name or number; None: the table's column of clients says it, where each
                client standardises by its own numbers.

        Raises:
            ValueError: no row, a column that is not there, a value of another kind, missing values without
                ``impute``, or a client that training has not seen where its own numbers are needed.
        """
        table = as_table(table)
        names = list(table.columns)
        check_columns("The table", [column.name for column in self.columns], names)
        if not len(table):
            raise ValueError("The table holds no row; give at least one.")
        owner = None
        if client is not None:
            owner = np.full(len(table), str(client), object)
        elif self.client in names:
            owner = texts_of(table[self.client])
        if self.by_client and owner is None:
            check_columns("The table, of which no client is given,", [self.client], names)
        return self.inputs_of(table, owner)

    def inputs_of(self, table: Any, owner: NDArray[Any] | None) -> NDArray[Any]:
        """Rows of a checked table as inputs; ``owner`` is the client of each, by name, [N]."""
        return np.concatenate([self._part(column, table[column.name], owner) for column in self.columns], axis=1)

    def _part(self, column: RecipeColumn, series: Any, owner: NDArray[Any] | None) -> NDArray[Any]:
        if isinstance(column, NumberColumn):
            x = numbers_of(column.name, series, owner)
            gaps = np.isnan(x)
        else:
            x = texts_of(series)
            gaps = np.array([value is None for value in x], bool)
        if gaps.any() and not self.impute:
            raise ValueError(
                f"Column {column.name!r} is missing in {where_missing(gaps, owner)}; fill it, drop these rows, leave "
                "the column out, or take impute='mean', which fills it by the mean and says so in another input."
            )
        if isinstance(column, WordColumn):
            return tokens(x.tolist(), column.words, column.length, column.clean, column.pieces)
        if isinstance(column, CategoryColumn):
            place = {category: number for number, category in enumerate(column.categories)}
            hot = np.zeros((len(x), len(column.inputs)), np.float32)
            rows = np.array([place.get(value, -1) for value in x], np.int64)
            hot[rows >= 0, rows[rows >= 0]] = 1
            if column.indicator:
                hot[gaps, -1] = 1
            return hot
        mean, std = _scales(column, owner)
        scaled = np.where(gaps, 0.0, (np.where(gaps, 0.0, x) - mean) / std).astype(np.float32)
        return np.stack([scaled, gaps.astype(np.float32)], 1) if column.indicator else scaled[:, None]

    def to_json(self) -> str:
        """The recipe as text; ``recipe_from_json`` reads it back."""
        words = {cls: word for word, cls in _KINDS.items()}
        columns = [{"kind": words[type(column)], **dataclasses.asdict(column)} for column in self.columns]
        return json.dumps(
            {"format": FORMAT, "client": self.client, "impute": self.impute, "columns": columns}, indent=1
        )


def _scales(column: NumberColumn, owner: NDArray[Any] | None) -> tuple[Any, Any]:
    """Mean and std: numbers, or of each row's client, [N]."""
    if not column.by_client or owner is None:
        return column.mean, column.std
    own = {client: (mean, std) for client, mean, std in column.by_client}
    for client in dict.fromkeys(owner.tolist()):
        if client not in own:
            known = ", ".join(list(own)[:10])
            raise ValueError(
                f"Client {shown(client)} is none of those that were trained, {known}; each standardises by its own "
                "numbers, so name one of them, or train with scale='pooled'."
            )
    both = np.array([own[client] for client in owner], np.float64)
    return both[:, 0], both[:, 1]


def recipe_from_json(text: str, where: str = "recipe.json") -> TableRecipe:
    """The recipe that ``to_json`` wrote.

    Args:
        text: of a file that may come from anywhere.
        where: begins the message of an error.

    Raises:
        ValueError: another format, or what no recipe holds.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = shown(values.get("format") if isinstance(values, dict) else values)
            raise ValueError(f"it has the format {found}, and this fedmtl reads {FORMAT}")
        columns = tuple(_column(one) for one in _typed(values["columns"], list))
        if not columns:
            raise ValueError("it has no column")
        return TableRecipe(_typed(values["client"], str), columns, _typed(values["impute"], bool))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        why = f"{error} is not there" if isinstance(error, KeyError) else str(error)[:200]
        raise ValueError(f"{where}: no recipe of a table ({why}); restore the file of the run.") from None


def _column(value: Any) -> RecipeColumn:
    """A column of plain values, each of its field's type."""
    given = dict(_typed(value, dict))
    cls = _KINDS[given.pop("kind")]
    made: dict[str, Any] = {"name": _typed(given.pop("name"), str)}
    for key, one in given.items():
        if key in ("words", "categories"):
            made[key] = tuple(_typed(word, str) for word in _typed(one, list))
        elif key == "clean":
            made[key] = checked_steps(_typed(one, list))
        elif key == "by_client":
            made[key] = tuple((_typed(c, str), _number(mean), _number(std)) for c, mean, std in _typed(one, list))
        elif key == "length":
            made[key] = _typed(one, int)
            if not 1 <= one <= LONGEST_TEXT:
                raise ValueError(f"a length of {shown(one)}")
        else:
            made[key] = _typed(one, bool) if key in ("indicator", "pieces") else _number(one)
    stds: Sequence[float] = [made.get("std", 1.0), *(std for _, _, std in made.get("by_client", ()))]
    if min(stds) <= 0:
        raise ValueError(f"a std of {min(stds)}")
    return cls(**made)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{shown(value)} where a {kind.__name__} is expected")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{shown(value)} where a number is expected")
    return float(value)
