"""Words as whole numbers by a hash: clients need not agree on a vocabulary, and none is learnt from test texts."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.words import FIRST, PADDING, UNKNOWN, tokenize


def hashed_tokens(texts: Sequence[str], vocabulary: int, length: int) -> NDArray[np.int64]:
    """Tokens of texts, [N, length]: 2 + crc32(word) mod (vocabulary − 2), and ``PADDING`` after the last word.

    A text without a word is one unknown word.

    >>> hashed_tokens(["good camera", "good"], 100, 3).tolist()
    [[6, 17, 0], [6, 0, 0]]

    Args:
        texts: of any length.
        vocabulary: of different numbers, ``PADDING`` and ``UNKNOWN`` among them; words that share one are the same to a
            model.
        length: of words that are kept; longer texts are cut.
    """
    numbers: dict[str, int] = {}
    tokens = np.full((len(texts), length), PADDING, np.int64)
    for row, text in enumerate(texts):
        for place, word in enumerate(tokenize(text)[:length]):
            if word not in numbers:
                numbers[word] = FIRST + crc32(word.encode()) % (vocabulary - FIRST)
            tokens[row, place] = numbers[word]
    tokens[tokens[:, 0] == PADDING, 0] = UNKNOWN
    return tokens


def check_tokens(name: str, vocabulary: int, length: int) -> None:
    """Refuse a vocabulary without words, and texts without length.

    Raises:
        ValueError: it begins with the data set's name.
    """
    if not FIRST < vocabulary <= 2**24:
        raise ValueError(f"{name} numbers words by 3 to 2**24 tokens, got vocabulary={vocabulary}; use 4096.")
    if length < 1:
        raise ValueError(f"{name} keeps at least one word of a text, got length={length}; use 64.")
