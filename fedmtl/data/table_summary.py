"""A client's summary of its part of a table, what all clients agree on, and the bodies of packets of both.

Statistics of numbers are 20 bytes a column up and 16 down, categories are JSON, words as in ``word_counts``; each text
has its length in four bytes before it. Which columns there are is no part of it: all sides know their kinds.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.data.moments import FeatureMoments, merge, moments_from_bytes
from fedmtl.data.word_counts import WordCounts, add_words, words_from_bytes

_LENGTH = struct.Struct("<I")


class Summary(NamedTuple):
    """The training rows of one client, or of all."""

    moments: FeatureMoments
    """Statistics of the columns of numbers."""
    categories: tuple[tuple[str, ...], ...] = ()
    """Categories that occur in each such column, in order."""
    words: tuple[WordCounts, ...] = ()
    """Counts of the columns of texts."""

    def to_bytes(self) -> bytes:
        """The body of a client's packet."""
        texts = [*map(_list, self.categories), *(words.to_bytes() for words in self.words)]
        return self.moments.to_bytes() + b"".join(map(_block, texts))


class Agreed(NamedTuple):
    """The reply of the server to all clients, by which each makes its inputs."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    categories: tuple[tuple[str, ...], ...] = ()
    words: tuple[tuple[str, ...], ...] = ()
    """Vocabulary of each column of texts, in order."""
    longest: tuple[int, ...] = ()
    """Words of the longest text of each."""

    def to_bytes(self) -> bytes:
        """The body of the packet to each client."""
        texts = [*self.categories, *self.words]
        ends = b"".join(map(_LENGTH.pack, self.longest))
        statistics = np.stack([self.mean, self.std]).astype("<f8").tobytes()
        return statistics + ends + b"".join(_block(_list(text)) for text in texts)


def summary_from_bytes(body: bytes, numbers: int, categories: int, texts: int) -> Summary:
    """The summary that a client sent.

    Args:
        body: of its packet.
        numbers, categories, texts: columns of each kind.

    Raises:
        ValueError: a summary of other columns, or what is none.
    """
    size = moments_size(numbers)
    parts = _blocks(body[size:], categories + texts)
    return Summary(
        moments_from_bytes(body[:size], numbers),
        tuple(map(_strings, parts[:categories])),
        tuple(map(words_from_bytes, parts[categories:])),
    )


def agreed_from_bytes(body: bytes, numbers: int, categories: int, texts: int) -> Agreed:
    """Read the reply of the server; arguments are as in ``summary_from_bytes``."""
    size = 16 * numbers + _LENGTH.size * texts
    mean, std = np.frombuffer(body[: 16 * numbers], "<f8").reshape(2, -1)
    longest = tuple(number for (number,) in _LENGTH.iter_unpack(body[16 * numbers : size]))
    lists = tuple(map(_strings, _blocks(body[size:], categories + texts)))
    return Agreed(mean, std, lists[:categories], lists[categories:], longest)


def add_up(parts: Sequence[Summary]) -> Summary:
    """The summary of the rows of all clients, in their order."""
    return Summary(
        merge([part.moments for part in parts]),
        tuple(tuple(sorted(set().union(*each))) for each in zip(*(part.categories for part in parts), strict=True)),
        tuple(add_words(each) for each in zip(*(part.words for part in parts), strict=True)),
    )


def moments_size(numbers: int) -> int:
    """Bytes of the statistics of columns."""
    return 20 * numbers


def _list(words: Sequence[str]) -> bytes:
    return json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _strings(body: bytes) -> tuple[str, ...]:
    found: Any = json.loads(body.decode("utf-8", "surrogatepass"))
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ValueError("A list of texts is expected.")
    return tuple(found)


def _block(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


def _blocks(body: bytes, count: int) -> list[bytes]:
    """Texts with their lengths before them.

    Raises:
        ValueError: another number of them.
    """
    found, place = [], 0
    while place + _LENGTH.size <= len(body):
        start = place + _LENGTH.size
        place = start + _LENGTH.unpack_from(body, place)[0]
        found.append(body[start:place])
    if len(found) != count or place != len(body):
        raise ValueError(
            f"A summary of a table has {count} lists of categories and words, got {len(found)}; all clients need the "
            "same columns."
        )
    return found
