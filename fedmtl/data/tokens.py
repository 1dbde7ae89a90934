"""Words as whole numbers by a hash: clients need not agree on a vocabulary, and none is learnt from test texts."""

import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

PADDING = 0
"""The number that fills a text up to its length."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_")
"""A word with its apostrophes, or one mark."""


def words(text: str) -> list[str]:
    """The words of a text in lower case, marks apart.

    >>> words("I don't like it.")
    ['i', "don't", 'like', 'it', '.']
    """
    return _WORD.findall(text.lower())


def hashed_tokens(texts: Sequence[str], vocabulary: int, length: int) -> NDArray[np.int64]:
    """Tokens of texts, [N, length]: 1 + crc32(word) mod (vocabulary − 1), and ``PADDING`` after the last word.

    >>> hashed_tokens(["good camera", "good"], 100, 3).tolist()
    [[96, 79, 0], [96, 0, 0]]

    Args:
        texts: of any length.
        vocabulary: of different numbers, ``PADDING`` among them; words that share one are the same to a model.
        length: of words that are kept; longer texts are cut.
    """
    numbers: dict[str, int] = {}
    tokens = np.full((len(texts), length), PADDING, np.int64)
    for row, text in enumerate(texts):
        for place, word in enumerate(words(text)[:length]):
            if word not in numbers:
                numbers[word] = 1 + crc32(word.encode()) % (vocabulary - 1)
            tokens[row, place] = numbers[word]
    return tokens


def check_tokens(name: str, vocabulary: int, length: int) -> None:
    """Refuse a vocabulary without words, and texts without length.

    Raises:
        ValueError: it begins with the data set's name.
    """
    if not 2 <= vocabulary <= 2**24:
        raise ValueError(f"{name} numbers words from 1 to 2**24 at most, got vocabulary={vocabulary}; use 4096.")
    if length < 1:
        raise ValueError(f"{name} keeps at least one word of a text, got length={length}; use 64.")
