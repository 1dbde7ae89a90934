"""Pieces of words by byte-pair encoding: from counts of words, which clients add up, so that none sends a text.

    symbols of a word: ``▁``, which begins it, and its letters                                                      (1)
    learn  merge the pair of neighbours that is most frequent over all words, by their counts, into one symbol;
           of equally frequent pairs the first in alphabetical order; again, until there are enough                 (2)
    split  merge the pair of a word whose symbol was learnt first, again, until none is left                        (3)

Sennrich, Haddow, Birch. ACL 2016. A function of the counts alone, so it is that of all texts together.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

BEGIN = "▁"
"""Before the first letter of a word."""

SymbolPair = tuple[str, str]


def learn_pieces(counts: Mapping[str, int], size: int, min_count: int) -> tuple[str, ...]:
    """The pieces of (2): letters, the most frequent first, and then merged symbols in the order of their merges.

    Args:
        counts: word -> its count over all texts.
        size: pieces at most.
        min_count: of a letter or a pair.
    """
    order = sorted(counts)
    words = [[BEGIN, *word] for word in order]
    often = [counts[word] for word in order]
    letters: Counter[str] = Counter()
    for word, count in zip(words, often, strict=True):
        for letter in word:
            letters[letter] += count
    found = [one for one in sorted(letters, key=lambda one: (-letters[one], one)) if letters[one] >= min_count][:size]
    known = set(found)
    pairs: Counter[SymbolPair] = Counter()
    places: dict[SymbolPair, set[int]] = defaultdict(set)
    for place, (word, count) in enumerate(zip(words, often, strict=True)):
        for pair in zip(word, word[1:], strict=False):
            pairs[pair] += count
            places[pair].add(place)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapify(heap)
    while heap and len(found) < size:
        count, pair = heappop(heap)
        if -count != pairs[pair]:  # an entry from before a merge; the newer one is there, too
            continue
        if -count < min_count:
            break
        if not known.issuperset(pair):  # a letter that is too rare
            continue
        piece = "".join(pair)
        if piece not in known:
            found.append(piece)
            known.add(piece)
        changed: set[SymbolPair] = set()
        for place in places.pop(pair):
            old, new = words[place], _merged(words[place], pair)
            for each, sign in ((old, -1), (new, 1)):
                for one in zip(each, each[1:], strict=False):
                    pairs[one] += sign * often[place]
                    changed.add(one)
                    if sign > 0:
                        places[one].add(place)
            words[place] = new
        for one in changed:
            if one != pair and pairs[one] > 0:
                heappush(heap, (-pairs[one], one))
    return tuple(found)


def _merged(word: Sequence[str], pair: SymbolPair) -> list[str]:
    """A word with each occurrence of a pair as one symbol, from the left."""
    found: list[str] = []
    place = 0
    while place < len(word):
        if tuple(word[place : place + 2]) == pair:
            found.append("".join(pair))
            place += 2
        else:
            found.append(word[place])
            place += 1
    return found


class PieceSplitter:
    """(3): splits words into pieces, each word once.

    >>> PieceSplitter(("▁", "o", "l", "w", "lo", "low", "▁low")).split("slow")
    ['▁', 's', 'low']

    Args:
        pieces: of ``learn_pieces``, in order.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._rank = {piece: rank for rank, piece in enumerate(pieces)}
        self._known: dict[str, list[str]] = {}

    def split(self, word: str) -> list[str]:
        """Return the pieces of a word; letters that are none are pieces, too."""
        if word not in self._known:
            self._known[word] = self._split([BEGIN, *word])
        return self._known[word]

    def _split(self, symbols: list[str]) -> list[str]:
        while True:
            pairs = list(zip(symbols, symbols[1:], strict=False))
            ranks = [self._rank.get("".join(pair), len(self._rank)) for pair in pairs]
            if not ranks or min(ranks) == len(self._rank):
                return symbols
            symbols = _merged(symbols, pairs[ranks.index(min(ranks))])
