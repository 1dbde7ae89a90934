"""Words of texts, counted by each client and added up: the vocabulary of all without a text leaving a client.

    c(w) = Σ_k c_k(w),   the vocabulary is the most frequent words, equally frequent ones in alphabetical order      (1)

is that of all texts together. A client that sends its ``most`` most frequent words alone sends, too, the count e_k of
the most frequent of the others: a sum of (1) is then too low by at most Σ e_k.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fedmtl.data.cleaning import PLAIN
from fedmtl.data.words import in_order, tokenize

_HEAD = struct.Struct("<II")


class WordCounts(NamedTuple):
    """Words of some texts."""

    counts: Mapping[str, int]
    longest: int = 0
    """Words of the longest text."""
    error: int = 0
    """A count is too low by at most this; 0 where all words are counted."""

    def to_bytes(self) -> bytes:
        """The body of a client's packet: 8 bytes, and a line for each word, in alphabetical order."""
        lines = "\n".join(f"{word} {count}" for word, count in sorted(self.counts.items()))
        return _HEAD.pack(self.longest, self.error) + lines.encode()


def count_words(texts: Iterable[str], most: int = 0, steps: Sequence[str] = PLAIN) -> WordCounts:
    """Count the words of one client's texts.

    Args:
        texts: that are trained on.
        most: words that are kept at most, the most frequent; 0 for all.
        steps: of cleaning, before words are found.
    """
    counts: Counter[str] = Counter()
    longest = 0
    for text in texts:
        words = tokenize(text, steps)
        counts.update(words)
        longest = max(longest, len(words))
    order = in_order(counts)
    if not most or len(order) <= most:
        return WordCounts(counts, longest)
    return WordCounts({word: counts[word] for word in order[:most]}, longest, counts[order[most]])


def words_from_bytes(body: bytes) -> WordCounts:
    """The counts that a client sent.

    Raises:
        ValueError: what no client sends.
    """
    try:
        longest, error = _HEAD.unpack_from(body)
        pairs = [line.split(" ") for line in body[_HEAD.size :].decode().split("\n") if line]
        counts = {word: int(count) for word, count in pairs}
    except (struct.error, ValueError) as wrong:
        raise ValueError(f"Counts of words are lines of a word and a number, got something else: {wrong}.") from None
    if len(counts) < len(pairs) or min(counts.values(), default=1) < 1:
        raise ValueError("Counts of words name each word once, and count it once or more; one does not.")
    return WordCounts(counts, longest, error)


def add_words(parts: Sequence[WordCounts]) -> WordCounts:
    """(1) of several clients."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.counts)
    return WordCounts(total, max(part.longest for part in parts), sum(part.error for part in parts))
