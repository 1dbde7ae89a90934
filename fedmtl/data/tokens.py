"""Words as whole numbers by a hash: clients need not agree on a vocabulary, and none is learnt from test texts."""

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import check_int
from fedmtl.data.disk import blocks_of
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


def token_count(given: bool | int, parts: Sequence[NDArray[Any]], where: Callable[[int], str]) -> int:
    """Return the number of different tokens of inputs; 0 where they are none.

    Args:
        given: whether inputs are tokens, or their number.
        parts: inputs of all clients.
        where: names a part.

    Raises:
        ValueError: inputs of a type that is not whole, or numbers below 0 or beyond what is given.
    """
    if given is False:
        return 0
    if given is not True:
        check_int("tokens", given, FIRST + 1, 2**24)
    most = 0
    for part, x in ((part, block) for part, array in enumerate(parts) for block in blocks_of(array)):
        if x.dtype.kind != "i":
            raise ValueError(
                f"{where(part)}: tokens are whole numbers, and inputs are {x.dtype}, as all clients' have one type; "
                "give each client's x an integer type, or leave tokens out."
            )
        if x.size and (x.min() < 0 or (given is not True and x.max() >= given)):
            wrong = int(x.min()) if x.min() < 0 else int(x.max())
            rule = "tokens count from 0" if wrong < 0 else f"tokens={given} are numbered to {given - 1}"
            raise ValueError(f"{where(part)}: inputs hold {wrong}, but {rule}; number the words anew.")
        most = max(most, int(x.max(initial=0)) + 1)
    return most if given is True else given
