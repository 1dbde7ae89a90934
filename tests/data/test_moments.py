"""Federated statistics and words: those of all rows together, from what each client sends; and their bytes."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from fedmtl.data import Standardised, from_arrays, from_frame
from fedmtl.data.moments import FeatureMoments, merge, moments_from_bytes, moments_of
from fedmtl.data.table_summary import agreed_from_bytes, summary_from_bytes
from fedmtl.data.word_counts import WordCounts, add_words, count_words, words_from_bytes
from fedmtl.data.words import most_frequent, tokenize

SIZES = (1, 40, 3, 500, 17)


def ragged() -> list[np.ndarray]:
    """Five clients: a feature around 1e6 with deviations of 0.01, one that is constant, one that is constant at each
    client, one with missing values (at the third client all), one around −3e9, and small numbers."""
    draw = np.random.default_rng(0)
    parts = []
    for client, size in enumerate(SIZES):
        x = draw.standard_normal((size, 6))
        x[:, 0] = 1e6 + 0.01 * x[:, 0]
        x[:, 1] = 0.1
        x[:, 2] = client / 3
        x[draw.random(size) < 0.3, 3] = np.nan
        x[:, 4] = -3e9 + 5 * x[:, 4]
        x[:, 5] *= 1e-8
        parts.append(x)
    parts[2][:, 3] = np.nan
    return parts


def test_merged_statistics_are_those_of_all_rows() -> None:
    """Against numpy's on all rows, in the longer floats of ``longdouble``: to 1e-10, where Σ x² − n m² has no digit."""
    parts = ragged()
    rows = np.concatenate(parts).astype(np.longdouble)
    found = merge([moments_from_bytes(moments_of(part).to_bytes(), 6) for part in parts])
    mean, std = np.nanmean(rows, 0), np.nanstd(rows, 0)
    np.testing.assert_array_equal(found.known, (~np.isnan(rows)).sum(0))
    np.testing.assert_allclose(found.mean, mean.astype(float), rtol=1e-14, atol=1e-17)
    varying = np.array([0, 2, 3, 4, 5])
    np.testing.assert_allclose(found.std[varying], std[varying].astype(float), rtol=1e-6)
    assert found.std[1] == 1 and found.squares[1] == 0
    plain = np.sqrt(np.nanmean(rows.astype(float) ** 2, 0) - np.nanmean(rows.astype(float), 0) ** 2 + 0j).real
    assert abs(plain[0] - 0.01) > 1e-3  # sums of squares would be wrong
    reverse = merge([moments_of(part) for part in parts[::-1]])
    np.testing.assert_allclose(reverse.std, found.std, rtol=1e-12)


def test_a_feature_without_values_is_left_as_it_is() -> None:
    empty = moments_of(np.full((3, 1), np.nan))
    assert empty.to_bytes() == FeatureMoments(np.zeros(1, np.int64), np.zeros(1), np.zeros(1)).to_bytes()
    assert merge([empty, empty]).mean == 0 and merge([empty, empty]).std == 1
    both = merge([empty, moments_of(np.array([[2.0], [4.0]]))])
    assert (both.mean, both.std, both.known) == (3, 1, 2)


def test_sent_statistics_are_checked() -> None:
    body = moments_of(np.ones((2, 3))).to_bytes()
    assert len(body) == 20 * 3
    with pytest.raises(ValueError, match="Statistics of 4 features are 80 bytes, got 60; all clients need the same"):
        moments_from_bytes(body, 4)
    with pytest.raises(ValueError, match="Feature 1 has no finite mean and variance .mean nan"):
        moments_from_bytes(FeatureMoments(np.ones(2, np.int64), np.array([0.0, np.nan]), np.zeros(2)).to_bytes(), 2)
    with pytest.raises(ValueError, match="Feature 0 has no finite mean"):
        moments_of(np.array([[1.0], [np.inf]]))


# Words

TEXTS = [["the cat sat on the mat", "a cat"], ["the dog", "a dog and a cat and the zebra"], ["zebra", "Yak, yak"]]


def test_added_counts_are_those_of_all_texts() -> None:
    """Ties in alphabetical order: cat, the and a are there 3 times … by hand and by a Counter of all texts."""
    parts = [words_from_bytes(count_words(texts).to_bytes()) for texts in TEXTS]
    total = add_words(parts)
    assert total.counts == Counter(word for texts in TEXTS for text in texts for word in tokenize(text))
    assert total.longest == 8 and total.error == 0
    assert most_frequent(total.counts, 6, 2) == ("the", "a", "cat", "and", "dog", "yak")


def test_some_words_have_counts_that_are_too_low_by_at_most_the_error() -> None:
    parts = [count_words(texts, most=2) for texts in TEXTS]
    assert [dict(part.counts) for part in parts] == [{"cat": 2, "the": 2}, {"a": 2, "and": 2}, {"yak": 2, "zebra": 1}]
    assert [part.error for part in parts] == [1, 2, 0]
    total, whole = add_words(parts), add_words([count_words(texts) for texts in TEXTS])
    assert total.error == 3
    assert all(0 <= count - total.counts.get(word, 0) <= total.error for word, count in whole.counts.items())


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"\0" * 8 + b"cat", "lines of a word and a number"), (b"\0" * 8 + b"a 1\na 2", "each word once"), (b"", "lines")],
)
def test_damaged_counts(body: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        words_from_bytes(body)
    assert words_from_bytes(WordCounts({}).to_bytes()).counts == {}


def test_summaries_of_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="has 1 lists of categories and words, got 0; all clients need the same"):
        summary_from_bytes(b"", 0, 1, 0)
    with pytest.raises(ValueError, match="A list of texts is expected"):
        agreed_from_bytes(b"\3\0\0\0{  }"[:4] + b"{ }", 0, 1, 0)


# Tables and arrays


def sites() -> pd.DataFrame:
    frames = []
    for client, x in enumerate(ragged()[1:]):
        columns = {f"f{place}": column for place, column in enumerate(x.T)}
        frames.append(pd.DataFrame({"site": f"s{client}", **columns, "ill": np.arange(len(x)) % 2}))
    return pd.concat(frames, ignore_index=True)


def test_a_table_is_standardised_by_what_its_clients_send() -> None:
    """The recipe's numbers are those of all training rows; a packet of 20 bytes a column up, 16 down."""
    frame = sites().assign(part="train")
    frame.loc[frame.index % 9 == 3, "part"] = "test"
    federation = from_frame(frame, "site", ["ill"], split="part", impute="mean").load(0)
    trained = frame[frame.part == "train"]
    assert federation.recipe is not None and federation.prepared is not None
    for column in federation.recipe.columns:
        own = np.asarray(trained[column.name], np.longdouble)
        assert column.mean == pytest.approx(float(np.nanmean(own)), rel=1e-12)  # pyright: ignore[reportAttributeAccessIssue]
        std = 1 if column.name == "f1" else float(np.nanstd(own))
        assert column.std == pytest.approx(std, rel=1e-6)  # pyright: ignore[reportAttributeAccessIssue]
    assert federation.prepared.up.tolist() == [6 * 20] * 4 and federation.prepared.down == 6 * 16
    alone = from_frame(frame, "site", ["ill"], split="part", impute="mean", scale="client").load(0)
    assert alone.prepared is None


def test_a_text_table_has_the_vocabulary_of_all_its_texts() -> None:
    rows = [(f"shop-{shop}", text) for shop, texts in enumerate(TEXTS) for text in texts]
    frame = pd.DataFrame(rows, columns=["shop", "review"]).assign(part=["train", "test"] * 3, good=[0, 1] * 3)
    other = frame.assign(part="train")
    for table in (frame, pd.concat([frame, other])):
        data = from_frame(table, "shop", ["good"], text="review", split="part", min_count=1)
        federation = data.load(0)
        trained = table[table.part == "train"].review
        counts = Counter(word for text in trained for word in tokenize(text))
        expected = sorted(counts, key=lambda word: (-counts[word], word))
        assert federation.recipe is not None and federation.recipe.text is not None
        assert list(federation.recipe.text.words) == expected
        assert data.vocabulary_error() == 0
    few = from_frame(
        pd.concat([frame, other]), "shop", ["good"], text="review", split="part", words_sent=2, min_count=1
    )
    assert few.vocabulary_error() > 0
    small, whole = few.load(0).prepared, federation.prepared
    assert small is not None and whole is not None and (small.up <= whole.up).all() and small.up.sum() < whole.up.sum()


def test_any_data_set_is_standardised() -> None:
    """Mean 0 and std 1 over all training rows, or each client's; test rows by the same numbers."""
    draw = np.random.default_rng(1)
    clients = {
        c: (7.0 + c + (1 + c) * draw.standard_normal((n, 2, 3)), {"up": np.arange(n) % 2})
        for c, n in enumerate((20, 5, 60))
    }
    data = from_arrays(clients)
    plain, pooled, own = data.load(0), Standardised(data).load(0), Standardised(data, "client").load(0)
    rows = np.concatenate([each.train.x for each in plain.clients.values()]).astype(float)
    for client, each in plain.clients.items():
        for part in range(2):
            wanted = (each[part].x - rows.mean(0)) / rows.std(0)
            np.testing.assert_allclose(pooled.clients[client][part].x, wanted, atol=1e-6)
            train = each.train.x.astype(float)
            wanted = (each[part].x - train.mean(0)) / train.std(0)
            np.testing.assert_allclose(own.clients[client][part].x, wanted, atol=1e-5)
    assert pooled.prepared is not None and pooled.prepared.up.tolist() == [120] * 3 and pooled.prepared.down == 96
    assert own.prepared is None and pooled.clients[0].train.x.dtype == np.float32
    with pytest.raises(ValueError, match="are standardised already"):
        Standardised(Standardised(data)).load(0)
    with pytest.raises(ValueError, match="scale is one of pooled, client, got 'minmax'"):
        Standardised(data, "minmax")
    tokens = from_arrays({0: (np.arange(40).reshape(10, 4), {"up": np.arange(10) % 2})}, tokens=True)
    with pytest.raises(ValueError, match="takes numbers, but the inputs of .* are tokens"):
        Standardised(tokens).load(0)
