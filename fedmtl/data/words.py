"""Texts as tokens: words of cleaned texts, numbered by how frequent they are in training texts."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.cleaning import PLAIN, cleaned
from fedmtl.data.pieces import PieceSplitter

PADDING, UNKNOWN = 0, 1
"""Tokens after a text's end, and of a word that is not in the vocabulary; the vocabulary's are from 2."""

FIRST = 2

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def tokenize(text: str, steps: Sequence[str] = PLAIN) -> list[str]:
    """Words of a text: letters and digits of any script, apostrophes inside, all else between.

    >>> tokenize("Don't panic: it's 42€, naïvely!")
    ["don't", 'panic', "it's", '42', 'naïvely']

    Args:
        text: one, of any length.
        steps: of cleaning (``cleaning.py``), before words are found.
    """
    return _WORD.findall(cleaned(text, steps).replace("’", "'"))


def vocabulary(texts: Iterable[str], size: int, min_count: int, steps: Sequence[str] = PLAIN) -> tuple[str, ...]:
    """The most frequent words, the most frequent first, those that are equally frequent in alphabetical order.

    Args:
        texts: that are trained on.
        size: words at most.
        min_count: of a word, over all texts.
        steps: of cleaning.
    """
    return most_frequent(Counter(word for text in texts for word in tokenize(text, steps)), size, min_count)


def most_frequent(counts: Mapping[str, int], size: int, min_count: int) -> tuple[str, ...]:
    """``vocabulary`` of texts whose words are counted."""
    return tuple(word for word in in_order(counts)[:size] if counts[word] >= min_count)


def in_order(counts: Mapping[str, int]) -> list[str]:
    """Words, the most frequent first, those that are equally frequent in alphabetical order (by code point)."""
    return sorted(counts, key=lambda word: (-counts[word], word))


def tokens(
    texts: Sequence[str | None], words: Sequence[str], length: int, steps: Sequence[str] = PLAIN, pieces: bool = False
) -> NDArray[np.int64]:
    """Texts as tokens [N, length], cut at the end or padded; a text without a word is one unknown word.

    Args:
        texts: of any length; None for one that is missing.
        words: the vocabulary, in order.
        length: tokens of each.
        steps: of cleaning.
        pieces: the vocabulary is that of ``pieces.py``.
    """
    split = PieceSplitter(words).split if pieces else None
    number = {word: place for place, word in enumerate(words, FIRST)}
    found = np.full((len(texts), length), PADDING, np.int64)
    for row, text in enumerate(texts):
        found_words = tokenize(text or "", steps)[:length]
        if split is not None:
            found_words = [piece for word in found_words for piece in split(word)][:length]
        own = [number.get(word, UNKNOWN) for word in found_words] or [UNKNOWN]
        found[row, : len(own)] = own
    return found
