"""The server's part of the preparation of a table: its columns, and what is agreed by the summaries of clients."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedmtl.core.types import ClientId
from fedmtl.data.columns import CATEGORIES
from fedmtl.data.moments import agreed_moments, sent_moments
from fedmtl.data.pieces import learn_pieces
from fedmtl.data.preparation import Preparation
from fedmtl.data.table_summary import Agreed, Summary, add_up, agreed_from_bytes, moments_size, summary_from_bytes
from fedmtl.data.words import FIRST, most_frequent


@dataclass(frozen=True)
class TableRule:
    """The rule of a table: its columns, which all sides know before clients send anything, and the choices."""

    numbers: tuple[str, ...]
    """Columns of numbers whose statistics all clients agree on."""
    categories: tuple[str, ...]
    texts: tuple[str, ...]
    others: tuple[str, ...]
    """Columns of numbers without agreed statistics."""
    gaps: tuple[str, ...]
    """Columns with a further input that says where they are missing."""
    by: Preparation

    def summary(self, body: bytes) -> Summary:
        """Read what a client sent.

        Raises:
            ValueError: a summary of other columns, or what is none.
        """
        return summary_from_bytes(body, len(self.numbers), len(self.categories), len(self.texts))

    def weight(self, body: bytes) -> float:
        """As of a ``Rule``."""
        found = self.summary(body)
        sent_moments(body[: moments_size(len(self.numbers))], len(self.numbers))
        for name, kinds in zip(self.categories, found.categories, strict=True):
            if len(kinds) > CATEGORIES:
                raise ValueError(f"Column {name!r} has at most {CATEGORIES} categories at a client, got {len(kinds)}.")
        return float(found.moments.known.max(initial=0))

    def total(self, sent: Mapping[ClientId, bytes]) -> Summary:
        """Add up the summaries of clients."""
        return add_up([self.summary(sent[client]) for client in sorted(sent)])

    def agree(self, sent: Mapping[ClientId, bytes]) -> bytes:
        """Decide by the summaries of all clients.

        Raises:
            ValueError: texts without a word that is frequent enough.
        """
        by, words, total = self.by, [], self.total(sent)
        for name, counted in zip(self.texts, total.words, strict=True):
            vocabulary = learn_pieces if by.pieces else most_frequent
            words.append(vocabulary(counted.counts, by.vocabulary - FIRST, by.min_count))
            if not words[-1]:
                raise ValueError(
                    f"Text column {name!r} has no word that is there {by.min_count} times in training; take "
                    "min_count=1, or another column."
                )
        longest = tuple(counted.longest for counted in total.words)
        return Agreed(total.moments.mean, total.moments.std, total.categories, tuple(words), longest).to_bytes()

    def agreed(self, body: bytes) -> Agreed:
        """Read what was agreed.

        Raises:
            ValueError: what no server of this table sends.
        """
        agreed_moments(body[: 16 * len(self.numbers)], len(self.numbers))
        return agreed_from_bytes(body, len(self.numbers), len(self.categories), len(self.texts))
