"""A recipe from the training rows of all clients: statistics, categories and words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import check_int, shown
from fedmtl.data.cleaning import CLEAN, checked_steps
from fedmtl.data.columns import CATEGORY, numbers_of, texts_of
from fedmtl.data.inputs import floats
from fedmtl.data.recipe import LONGEST_TEXT, CategoryColumn, NumberColumn, RecipeColumn, TableRecipe, WordColumn
from fedmtl.data.words import FIRST, tokenize, vocabulary

SCALES = ("pooled", "client", "none")
TEXT = "text"
SHORTEST = 8
"""Tokens to which texts are padded that are all shorter: what convolutions see at once."""


@dataclass(frozen=True)
class Preparation:
    """Choices by which a recipe is made.

    Raises:
        ValueError: a word that is none of those that there are, or a size out of range.
    """

    impute: str = ""
    """ "mean": missing features are filled, and say so in a further input; empty: they are an error."""
    scale: str = "pooled"
    """Numbers are standardised by all clients' training rows, "pooled", by those of their own "client", or "none"."""
    vocabulary: int = 10_000
    """Tokens at most, padding and unknown words among them: the rows of an embedding."""
    min_count: int = 2
    """Least count of a word, over the training texts of all clients."""
    length: int = 128
    """Tokens of a text at most."""
    clean: tuple[str, ...] = CLEAN
    """Steps of cleaning of a text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "clean", checked_steps(self.clean))
        if self.impute not in ("", "mean"):
            raise ValueError(f"impute is 'mean', or empty where missing features are an error, got {self.impute!r}.")
        if self.scale not in SCALES:
            raise ValueError(f"scale is one of {', '.join(SCALES)}, got {shown(self.scale)}.")
        check_int("vocabulary", self.vocabulary, FIRST + 1, 10_000_000)
        check_int("min_count", self.min_count, 1)
        check_int("length", self.length, 1, LONGEST_TEXT)


def fit_recipe(
    table: Any, kinds: Mapping[str, str], owner: NDArray[Any], rows: NDArray[np.int64], client: str, by: Preparation
) -> TableRecipe:
    """The recipe of a table.

    Args:
        table: all rows.
        kinds: column -> its kind, in the order of inputs.
        owner: the client of each row, by name.
        rows: those that are trained on; nothing is taken from others.
        client: the column of clients.
        by: choices.

    Raises:
        ValueError: a column without a value in any training row, or texts without a word that is frequent enough.
    """
    columns: list[RecipeColumn] = []
    for name, kind in kinds.items():
        if kind == TEXT:
            columns.append(_text_column(name, texts_of(table[name].iloc[rows]), by))
        elif kind == CATEGORY:
            values = texts_of(table[name].iloc[rows])
            gaps = any(value is None for value in values)
            known = sorted({value for value in values if value is not None})
            if not known:
                raise _empty(name)
            columns.append(CategoryColumn(name, tuple(known), bool(by.impute) and gaps))
        else:
            columns.append(_number_column(name, numbers_of(name, table[name], owner), owner, rows, by))
    return TableRecipe(client, tuple(columns), bool(by.impute))


def _empty(name: str) -> ValueError:
    return ValueError(f"Column {name!r} is missing in all training rows of all clients; leave it out.")


def _number_column(
    name: str, x: NDArray[np.float64], owner: NDArray[Any], rows: NDArray[np.int64], by: Preparation
) -> NumberColumn:
    trained, owners = x[rows], owner[rows]
    known = ~np.isnan(trained)
    seen, owners = trained[known], owners[known]
    if not len(seen):
        raise _empty(name)
    indicator = bool(by.impute) and not known.all()
    if by.scale == "none":
        floats(x[:, None], f"Column {name!r}")  # refuses what float32 would merge
        return NumberColumn(name, float(seen.mean()) if indicator else 0.0, 1.0, indicator)
    if np.isin(seen, (0, 1)).all():
        return NumberColumn(name, indicator=indicator)
    mean, std = _statistics(seen)
    if by.scale == "pooled":
        return NumberColumn(name, mean, std, indicator)
    own = {one: seen[owners == one] for one in dict.fromkeys(owner.tolist())}
    by_client = ((one, *(_statistics(some) if len(some) else (mean, std))) for one, some in own.items())
    return NumberColumn(name, mean, std, indicator, tuple(by_client))


def _statistics(x: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and std; 1 in place of a std that is rounding alone."""
    mean, std = float(x.mean()), float(x.std())
    return mean, std if std > 1e-12 * max(abs(mean), 1e-300) else 1.0


def _text_column(name: str, texts: NDArray[Any], by: Preparation) -> WordColumn:
    known = [text for text in texts if text is not None]
    words = vocabulary(known, by.vocabulary - FIRST, by.min_count, by.clean)
    if not words:
        raise ValueError(
            f"Text column {name!r} has no word that is there {by.min_count} times in training; take min_count=1, or "
            "another column."
        )
    longest = max(len(tokenize(text, by.clean)) for text in known)
    return WordColumn(name, words, min(by.length, max(longest, SHORTEST)), by.clean)
