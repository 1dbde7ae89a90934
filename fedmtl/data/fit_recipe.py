"""A recipe from the training rows of all clients: statistics, categories and words, by what each client sends.

Each client summarises its own rows, the server adds the summaries up and sends back what was agreed, and nothing else
passes between them. Both go through the bytes of their packets, whose lengths a run counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import check_int, shown
from fedmtl.core.types import ClientId
from fedmtl.data.cleaning import CLEAN, checked_steps
from fedmtl.data.columns import CATEGORY, numbers_of, texts_of
from fedmtl.data.inputs import floats
from fedmtl.data.moments import moments_of
from fedmtl.data.pieces import learn_pieces
from fedmtl.data.prepared import Prepared, exchanged
from fedmtl.data.recipe import LONGEST_TEXT, CategoryColumn, NumberColumn, RecipeColumn, TableRecipe, WordColumn
from fedmtl.data.table_summary import Agreed, Summary, add_up, agreed_from_bytes, summary_from_bytes
from fedmtl.data.word_counts import count_words
from fedmtl.data.words import FIRST, most_frequent

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
    words_sent: int = 0
    """Words that a client counts at most, its most frequent ones; 0 for all."""
    pieces: bool = False
    """Tokens are pieces of words, by byte-pair encoding of the counts of words."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "clean", checked_steps(self.clean))
        if self.impute not in ("", "mean"):
            raise ValueError(f"impute is 'mean', or empty where missing features are an error, got {self.impute!r}.")
        if self.scale not in SCALES:
            raise ValueError(f"scale is one of {', '.join(SCALES)}, got {shown(self.scale)}.")
        check_int("vocabulary", self.vocabulary, FIRST + 1, 10_000_000)
        check_int("min_count", self.min_count, 1)
        check_int("length", self.length, 1, LONGEST_TEXT)
        check_int("words_sent", self.words_sent, 0)


class FittedRecipe(NamedTuple):
    """A recipe, and what its agreement took."""

    recipe: TableRecipe
    prepared: Prepared | None
    """None where nothing had to be agreed."""
    error: int = 0
    """A count of a word is too low by at most this, where clients send some words only."""

    @property
    def tokens(self) -> int:
        """Number of different tokens of texts; 0 where inputs are numbers."""
        return 0 if self.recipe.text is None else self.recipe.text.vocabulary


def fit_recipe(
    table: Any,
    kinds: Mapping[str, str],
    owner: NDArray[Any],
    rows: Mapping[ClientId, NDArray[np.int64]],
    client: str,
    by: Preparation,
) -> FittedRecipe:
    """The recipe of a table.

    Args:
        table: all rows.
        kinds: column -> its kind, in the order of inputs.
        owner: the client of each row, by name.
        rows: of each client those that are trained on; nothing is taken from others.
        client: the column of clients.
        by: choices.

    Raises:
        ValueError: a column without a value in any training row, or texts without a word that is frequent enough.
    """
    columns = _TableColumns(table, kinds, owner, np.sort(np.concatenate(list(rows.values()))), by)
    counts = len(columns.agreed), len(columns.categories), len(columns.texts)
    sent = {one: columns.summary(own).to_bytes() for one, own in rows.items()} if any(counts) else {}
    received = [summary_from_bytes(sent[one], *counts) for one in sorted(sent)]
    if not received:
        return FittedRecipe(TableRecipe(client, columns.recipe(_NOTHING, rows), bool(by.impute)), None)
    total = add_up(received)
    body = columns.agree(total).to_bytes()
    recipe = TableRecipe(client, columns.recipe(agreed_from_bytes(body, *counts), rows), bool(by.impute))
    return FittedRecipe(recipe, exchanged(sent, body), sum(words.error for words in total.words))


_NOTHING = Agreed(np.zeros(0), np.zeros(0))


class _TableColumns:
    """The columns of a table: their kinds, which all sides know before clients send anything."""

    def __init__(
        self, table: Any, kinds: Mapping[str, str], owner: NDArray[Any], trained: NDArray[np.int64], by: Preparation
    ) -> None:
        self._by, self._owner = by, owner
        self._values: dict[str, NDArray[Any]] = {}
        self._gaps: dict[str, bool] = {}
        self._own: list[str] = []
        """Columns of numbers that each client standardises by its own."""
        self.agreed: list[str] = []
        """Columns of numbers whose statistics all clients agree on."""
        self.categories: list[str] = []
        self.texts: list[str] = []
        for name, kind in kinds.items():
            number = kind not in (TEXT, CATEGORY)
            values = numbers_of(name, table[name], owner) if number else texts_of(table[name])
            known = ~np.isnan(values[trained]) if number else np.array([x is not None for x in values[trained]], bool)
            if not known.any() and kind != TEXT:
                raise ValueError(f"Column {name!r} is missing in all training rows of all clients; leave it out.")
            self._values[name], self._gaps[name] = values, bool(by.impute) and not known.all()
            if number:
                self._enter(name, values[trained][known])
            else:
                (self.texts if kind == TEXT else self.categories).append(name)

    def _enter(self, name: str, seen: NDArray[np.float64]) -> None:
        """Enter a column of numbers among those that are standardised, where it is."""
        if self._by.scale == "none":
            floats(self._values[name][:, None], f"Column {name!r}")  # refuses what float32 would merge
            self.agreed += [name] if self._gaps[name] else []
        elif not np.isin(seen, (0, 1)).all():
            (self.agreed if self._by.scale == "pooled" else self._own).append(name)

    def summary(self, rows: NDArray[np.int64]) -> Summary:
        """Summarise the rows of one client."""
        numbers = [self._values[name][rows] for name in self.agreed]
        return Summary(
            moments_of(np.stack(numbers, 1) if numbers else np.zeros((len(rows), 0))),
            tuple(tuple(sorted(set(self._known(name, rows)))) for name in self.categories),
            tuple(count_words(self._known(name, rows), self._by.words_sent, self._by.clean) for name in self.texts),
        )

    def _known(self, name: str, rows: NDArray[np.int64]) -> list[str]:
        return [text for text in self._values[name][rows] if text is not None]

    def agree(self, total: Summary) -> Agreed:
        """Decide, as the server, by the summaries of all clients.

        Raises:
            ValueError: texts without a word that is frequent enough.
        """
        by, words = self._by, []
        for name, counted in zip(self.texts, total.words, strict=True):
            vocabulary = learn_pieces if by.pieces else most_frequent
            words.append(vocabulary(counted.counts, by.vocabulary - FIRST, by.min_count))
            if not words[-1]:
                raise ValueError(
                    f"Text column {name!r} has no word that is there {by.min_count} times in training; take "
                    "min_count=1, or another column."
                )
        longest = tuple(counted.longest for counted in total.words)
        return Agreed(total.moments.mean, total.moments.std, total.categories, tuple(words), longest)

    def recipe(self, agreed: Agreed, rows: Mapping[ClientId, NDArray[np.int64]]) -> tuple[RecipeColumn, ...]:
        """The columns of the recipe, in order, as every client makes them."""
        return tuple(self._column(name, agreed, rows) for name in self._values)

    def _column(self, name: str, agreed: Agreed, rows: Mapping[ClientId, NDArray[np.int64]]) -> RecipeColumn:
        if name in self.texts:
            place = self.texts.index(name)
            by, longest = self._by, max(agreed.longest[place], SHORTEST)
            length = by.length if by.pieces else min(by.length, longest)
            return WordColumn(name, agreed.words[place], length, by.clean, by.pieces)
        if name in self.categories:
            return CategoryColumn(name, agreed.categories[self.categories.index(name)], self._gaps[name])
        if name in self._own:
            own = {self._owner[some[0]]: moments_of(self._values[name][some]) for some in rows.values()}
            order = dict.fromkeys(one for one in self._owner.tolist() if one in own)
            by_client = ((one, float(own[one].mean[0]), float(own[one].std[0])) for one in order)
            return NumberColumn(name, indicator=self._gaps[name], by_client=tuple(by_client))
        if name not in self.agreed:
            return NumberColumn(name, indicator=self._gaps[name])
        place = self.agreed.index(name)
        std = float(agreed.std[place]) if self._by.scale == "pooled" else 1.0
        return NumberColumn(name, float(agreed.mean[place]), std, self._gaps[name])
