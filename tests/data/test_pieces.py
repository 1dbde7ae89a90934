"""Byte-pair encoding from counts: by hand, as a plain count of pairs finds it, and federated as pooled."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from fedmtl.data import from_frame, recipe_from_json
from fedmtl.data.pieces import PieceSplitter, learn_pieces
from fedmtl.data.words import tokenize, tokens

COUNTS = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
"""The example of Sennrich et al. 2016, here with a symbol before each word in place of one after it."""

LETTERS = ("e", "w", "▁", "s", "t", "l", "o", "n", "d", "i", "r")
"""17, 16, 16, 9, 9, 7, 7, 6, 3, 3 and 2 times: equal ones by code point, and ▁ is after the letters."""


def test_the_paper_s_example_by_hand() -> None:
    """(e, s), (s, t) 9 times: es; (es, t) 9: est; (l, o), (o, w), (▁, l) 7: lo; (lo, w), (▁, lo) 7: low; (▁, low):
    ▁low; (e, w), (n, e), (w, est), (▁, n) 6: ew; (ew, est), (n, ew), (▁, n) 6: ewest; (n, ewest), (▁, n): newest;
    ▁newest; then 3 times (d, est): dest; (i, dest): idest."""
    merged = ("es", "est", "lo", "low", "▁low", "ew", "ewest", "newest", "▁newest", "dest", "idest")
    found = learn_pieces(COUNTS, 22, 1)
    assert found[:11] == LETTERS and found[11:] == merged
    assert learn_pieces(COUNTS, 13, 1) == found[:13]
    split = PieceSplitter(found).split
    assert split("lowest") == ["▁low", "est"] and split("newest") == ["▁newest"] and split("xw") == ["▁", "x", "w"]


def test_rare_pairs_and_letters_are_left_out() -> None:
    found = learn_pieces(COUNTS, 100, 3)
    assert "r" not in found and "er" not in found and "▁widest" in found
    assert learn_pieces({}, 10, 1) == () and learn_pieces({"ab": 1}, 10, 2) == ()


def plain(counts: dict[str, int], size: int) -> list[str]:
    """All pairs counted anew for each merge."""
    words = {word: ["▁", *word] for word in counts}
    letters: Counter[str] = Counter()
    for word, count in counts.items():
        letters.update({letter: ("▁" + word).count(letter) * count for letter in {"▁", *word}})
    found = sorted(letters, key=lambda one: (-letters[one], one))[:size]
    while len(found) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in words.items():
            for pair in zip(symbols, symbols[1:], strict=False):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        found += ["".join(best)] if "".join(best) not in found else []
        for word, symbols in words.items():
            place = 0
            while place + 1 < len(symbols):
                if (symbols[place], symbols[place + 1]) == best:
                    symbols[place : place + 2] = ["".join(best)]
                place += 1
            words[word] = symbols
    return found


@pytest.mark.parametrize("seed", range(5))
def test_merges_are_those_of_a_plain_count(seed: int) -> None:
    """Of random words of three letters, with many ties and repetitions such as aaa."""
    draw = np.random.default_rng(seed)
    counts = {"".join(draw.choice(list("abc"), draw.integers(1, 9))): int(draw.integers(1, 5)) for _ in range(40)}
    assert list(learn_pieces(counts, 60, 1)) == plain(counts, 60)


def test_federated_pieces_are_those_of_all_texts() -> None:
    """And a run's recipe keeps them; new texts have few unknown tokens."""
    draw = np.random.default_rng(0)
    words = ["slow", "slower", "lowest", "newer", "news", "widest", "wider", "low"]
    texts = [" ".join(draw.choice(words, draw.integers(1, 6))) for _ in range(60)]
    table = pd.DataFrame({"site": np.arange(60) % 4, "text": texts, "good": np.arange(60) % 2})
    table["part"] = np.where(np.arange(60) % 5 < 4, "train", "test")
    data = from_frame(table, "site", ["good"], text="text", split="part", vocabulary=30, length=12, pieces=True)
    federation = data.load(0)
    recipe = federation.recipe
    assert recipe is not None and recipe.text is not None and federation.prepared is not None
    counts = Counter(word for text in table.text[table.part == "train"] for word in tokenize(text))
    assert recipe.text.words == learn_pieces(counts, 28, 2)
    assert data.vocabulary == 30 and federation.tokens == len(recipe.text.words) + 2
    assert federation.input_shape == (12,) and recipe_from_json(recipe.to_json()) == recipe
    x = recipe.inputs(pd.DataFrame({"text": ["slowest"]}))
    assert x.tolist() == tokens(["slowest"], recipe.text.words, 12, pieces=True).tolist() and (x != 1).all()
    assert federation.prepared.down == sum(len(f'"{word}"'.encode()) + 1 for word in recipe.text.words) + 1 + 8
