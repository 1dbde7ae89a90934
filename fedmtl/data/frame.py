"""A table as a federation: a column of clients, features or a text, and a column for each task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.types import ClientId
from fedmtl.data.arrays import ArrayData, from_arrays
from fedmtl.data.base import ClientData, Federation, Split
from fedmtl.data.cleaning import CLEAN, checked_steps
from fedmtl.data.columns import as_table, kind_of, texts_of
from fedmtl.data.fit_recipe import TEXT, FittedRecipe, fit_recipe
from fedmtl.data.frame_columns import Roles, join_tables, labels_of, owners_of, parts_of, refuse_short, roles_of
from fedmtl.data.partition import hold_out
from fedmtl.data.preparation import Preparation
from fedmtl.data.recipe import TableRecipe
from fedmtl.data.table_rule import TableRule
from fedmtl.data.task_sets import TaskSets
from fedmtl.data.text_codes import with_codes
from fedmtl.data.words import FIRST
from fedmtl.data.words import vocabulary as words_of
from fedmtl.tasks.base import Task


@dataclass(frozen=True, eq=False)
class FrameData:
    """A table in memory, checked and copied by ``from_frame``, which makes it."""

    arrays: ArrayData
    """The clients, with numbers of rows in place of inputs."""
    table: Any
    """The columns that inputs are made of, of all rows with a label."""
    kinds: Mapping[str, str]
    """Column -> its kind, in the order of inputs."""
    owner: NDArray[Any]
    """The client of each row, by name."""
    groups: NDArray[Any] | None
    """The group of each row, none of which is on both sides of the split."""
    client: str
    """The column of clients."""
    preparation: Preparation

    def load(self, seed: int, agreed: bytes | None = None) -> Federation:
        """The federation; ``seed`` decides which of a client's rows, or groups, are tested on.

        ``agreed`` is what clients agreed on elsewhere; None: what they agree on here.

        Raises:
            ValueError: what ``Federation`` refuses, missing features, or training rows that no recipe can be made of.
        """
        divided = self._all_divided(seed)
        fitted = self._fitted(divided, seed, agreed)
        x = fitted.recipe.inputs_of(self.table, self.owner)
        clients = {
            client: ClientData(*(split._replace(x=x[split.x[:, 0]]) for split in data))
            for client, data in divided.items()
        }
        federation = replace(self.arrays, clients=clients).load(seed)
        return replace(federation, recipe=fitted.recipe, prepared=fitted.prepared, tokens=fitted.tokens)

    def _fitted(self, divided: Mapping[ClientId, ClientData], seed: int, agreed: bytes | None = None) -> FittedRecipe:
        rows = {client: data.train.x[:, 0] for client, data in divided.items()}
        remake = partial(self.load, seed)
        return fit_recipe(self.table, self.kinds, self.owner, rows, self.client, self.preparation, remake, agreed)

    def _all_divided(self, seed: int) -> dict[ClientId, ClientData]:
        return {client: self._divided(client, data, seed) for client, data in self.arrays.clients.items()}

    def vocabulary_error(self, seed: int = 0) -> int:
        """Most by which a count of a word, by which the vocabulary is chosen, is too low: 0 unless ``words_sent``."""
        prepared = self._fitted(self._all_divided(seed), seed).prepared
        if prepared is None or not isinstance(prepared.rule, TableRule):
            return 0
        return sum(words.error for words in prepared.rule.total(prepared.sent).words)

    @property
    def vocabulary(self) -> int | None:
        """Tokens of texts at most, whichever rows are trained on: the rows of an embedding; None for features."""
        texts = [texts_of(self.table[name]) for name, kind in self.kinds.items() if kind == TEXT]
        by = self.preparation
        if texts and by.pieces:
            return by.vocabulary
        known = [text for column in texts for text in column if text is not None]
        return len(words_of(known, by.vocabulary - FIRST, by.min_count, by.clean)) + FIRST if texts else None

    def recipe(self, seed: int = 0) -> TableRecipe:
        """The way from rows to inputs, from the rows that are trained on with this seed."""
        found = self.load(seed).recipe
        assert found is not None
        return found

    def _divided(self, client: ClientId, data: Split | ClientData | TaskSets, seed: int) -> ClientData:
        if isinstance(data, ClientData):
            return data
        assert isinstance(data, Split)  # rows of a table are one set of examples
        rows, fraction = data.x[:, 0], self.arrays.test_fraction
        if self.groups is None:
            places = hold_out(len(rows), fraction, seed, client)
        else:
            known, own = np.unique(self.groups[rows], return_inverse=True)
            tested = np.isin(own, hold_out(len(known), fraction, seed, client)[1])
            places = np.flatnonzero(~tested), np.flatnonzero(tested)
        train, test = (Split(data.x[part], {name: y[part] for name, y in data.y.items()}) for part in places)
        return ClientData(train, test)


def from_frame(
    table: Any,
    client: str = "client",
    tasks: Sequence[str] | Mapping[str, Task | None] = (),
    features: Sequence[str] | None = None,
    text: str | None = None,
    *,
    test_fraction: float = 0.2,
    split: str | None = None,
    groups: str | None = None,
    missing: Any = None,
    impute: str | None = None,
    scale: str = "pooled",
    vocabulary: int = 10_000,
    min_count: int = 2,
    length: int = 128,
    clean: Sequence[str] = CLEAN,
    words_sent: int = 0,
    pieces: bool = False,
) -> FrameData:
    """A data set from a table, in one call.

    ``from_frame(table, client="site", tasks=["churn", "ltv"])`` takes each other column as a feature. Its ``load``
    gives a federation with a ``recipe``, by which new rows become inputs: ``recipe.inputs(rows, "site-7")``.

    Args:
        table: a DataFrame of pandas or polars with the rows of all clients, or client -> DataFrame.
        client: the column of clients: names, or whole numbers from 0. Of a mapping, the name that new rows use.
        tasks: the columns of labels; their kinds are inferred by the rules of ``from_arrays``, or given:
            ``{"churn": Binary(), "ltv": None}``. Names of classes are kept. A client owns the tasks of which it has
            a label; rows without any label are left out.
        features: the columns of inputs; None: all others. Numbers, and true and false, are one input each, categories
            one for each category that training has seen.
        text: a column of texts, in place of features; inputs are tokens.
        test_fraction: the part of each client's rows that is tested on, as in ``from_arrays``.
        split: a column that says it instead: "train" or "test" in each row.
        groups: a column, such as a document or a recording: rows of one value are not divided.
        missing: a label that stands for "not labelled", beside empty cells, such as -1 or "unknown".
        impute: "mean": missing features are filled, numbers by the mean of training rows and categories by none of
            them, and a further input says so; None: they are an error.
        scale: numbers are standardised by mean and std over all clients' training rows, "pooled"; by those of the
            client's own, "client"; or stay as they are, "none".
        vocabulary: tokens at most, of which two are padding and unknown words and the others the most frequent words
            of all clients' training rows: what a model of texts calls so.
        min_count: least count of a word.
        length: tokens of a text at most; longer ones are cut.
        clean: steps of cleaning of a text, in order: "html" takes tags out and makes characters of entities, "urls"
            takes addresses out, "nfkc" and "lower" make one form and one case of letters, "spaces" one space of
            several; () for none.
        words_sent: words that each client counts for the vocabulary at most, its most frequent ones: fewer bytes, and
            counts that are too low by at most ``vocabulary_error``; 0 for all, by which it is that of all texts.
        pieces: tokens are pieces of words, by byte-pair encoding of the words that clients count: rare words are made
            of frequent pieces, and few are unknown. All texts then have ``length`` tokens.

    Raises:
        ValueError: a column that is not there, that has two roles or two kinds, or is missing at a client; a client
            without a labelled row, or with one alone; a task with one value alone; and what ``from_arrays`` refuses.
    """
    by = Preparation(impute or "", scale, vocabulary, min_count, length, checked_steps(clean), words_sent, pieces)
    whole = as_table(join_tables(table, client) if isinstance(table, Mapping) else table)
    given = dict.fromkeys([tasks] if isinstance(tasks, str) else tasks) if not isinstance(tasks, Mapping) else tasks
    roles = roles_of(list(whole.columns), Roles(client, tuple(given), features, text, split, groups))
    if not len(whole):
        raise ValueError("The table holds no row; give it at least two of each client.")
    owner = owners_of(whole[client])
    labels = {name: labels_of(name, whole[name], missing) for name in given}
    labelled = np.any([~np.asarray(y.isna(), bool) for y in labels.values()], axis=0)
    refuse_short(owner, labelled, whole[split] if split else None, whole[groups] if groups else None)
    whole = whole[labelled].reset_index(drop=True)
    owner, named = owner[labelled], np.array([*map(str, owner[labelled]), None], object)[:-1]
    labels = {name: y[labelled].reset_index(drop=True) for name, y in labels.items()}
    kinds = {text: TEXT} if text else {name: kind_of(name, whole[name], named) for name in roles.features or ()}
    clients = parts_of(owner, labels, whole[split] if split else None)
    named_tasks = {name: with_codes(task, labels[name]) for name, task in given.items()}
    known = {name: task for name, task in named_tasks.items() if task is not None}
    arrays = from_arrays(clients, known, test_fraction, float("nan"))
    group = None if groups is None else np.unique(texts_of(whole[groups]).astype(str), return_inverse=True)[1]
    dataset = FrameData(arrays, whole[list(kinds)], kinds, named, group, client, by)
    dataset.load(0)  # What cannot be loaded is refused here, where the table is at hand.
    return dataset
