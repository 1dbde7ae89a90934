"""A recipe from the training rows of all clients: statistics, categories and words, by what each client sends.

Each client summarises its own rows, the server adds the summaries up and sends back what was agreed, and nothing else
passes between them. Both go through the bytes of their packets, whose lengths a run counts.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.data.columns import CATEGORY, numbers_of, texts_of
from fedmtl.data.inputs import floats
from fedmtl.data.moments import moments_of
from fedmtl.data.preparation import Preparation
from fedmtl.data.prepared import Prepared, prepared_by
from fedmtl.data.recipe import CategoryColumn, NumberColumn, RecipeColumn, TableRecipe, WordColumn
from fedmtl.data.table_rule import TableRule
from fedmtl.data.table_summary import Agreed, Summary
from fedmtl.data.word_counts import count_words

TEXT = "text"
SHORTEST = 8
"""Tokens to which texts are padded that are all shorter: what convolutions see at once."""


class FittedRecipe(NamedTuple):
    """A recipe, and what its agreement took."""

    recipe: TableRecipe
    prepared: Prepared | None
    """None where nothing had to be agreed."""

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
    remake: Callable[[bytes], Any],
    given: bytes | None = None,
) -> FittedRecipe:
    """The recipe of a table.

    Args:
        table: all rows.
        kinds: column -> its kind, in the order of inputs.
        owner: the client of each row, by name.
        rows: of each client those that are trained on; nothing is taken from others.
        client: the column of clients.
        by: choices.
        remake: loads the federation anew by what was agreed elsewhere.
        given: that, where it is known.

    Raises:
        ValueError: a column without a value in any training row, or texts without a word that is frequent enough.
    """
    columns = _TableColumns(table, kinds, owner, np.sort(np.concatenate(list(rows.values()))), by)
    prepared, agreed, rule = None, _NOTHING, columns.rule()
    if rule.numbers or rule.categories or rule.texts:
        prepared = prepared_by(rule, {one: columns.summary(own).to_bytes() for one, own in rows.items()}, remake, given)
        agreed = rule.agreed(prepared.agreed)
    return FittedRecipe(TableRecipe(client, columns.recipe(agreed, rows), bool(by.impute)), prepared)


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

    def rule(self) -> TableRule:
        """The server's part: it has the columns, and none of their rows."""
        known = {*self.agreed, *self.categories, *self.texts}
        others = tuple(name for name in self._values if name not in known)
        gaps = tuple(name for name, some in self._gaps.items() if some)
        agreed, categories, texts = map(tuple, (self.agreed, self.categories, self.texts))
        return TableRule(agreed, categories, texts, others, gaps, self._by)

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
