"""Real data sets, where the data home has them: published sizes, baselines by scikit-learn, and honest splits.

Sizes are those of the sets' authors. A baseline is computed here by scikit-learn on the loader's own parts, and lies
about the figure that was computed on the files before there was a loader.
"""

import csv
import gzip
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_class_weight

from fedmtl.data import (
    HAR,
    BeijingAir,
    FashionMNIST,
    Federation,
    Landmine,
    MovieReviews,
    Omniglot,
    Parkinsons,
    ProductReviews,
    School,
    beijingair,
    fashionmnist,
    har,
    landmine,
    moviereviews,
    omniglot,
    parkinsons,
    productreviews,
    school,
)
from fedmtl.data.home import find_file, has_files
from tests.data.homes import needs


def examples(federation: Federation) -> int:
    return int(federation.sizes.sum())


def stacked(federation: Federation, part: int, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of all clients, labelled rows."""
    splits = [data[part] for data in federation.clients.values() if task in data.tasks]
    x, y = (np.concatenate(arrays) for arrays in ([s.x for s in splits], [s.y[task] for s in splits]))
    return x[~np.isnan(y)], y[~np.isnan(y)]


@needs(ProductReviews.source)
class TestProductReviews:
    def test_sizes(self) -> None:
        """14 products, 8,194 sentences, 639 documents; polarity as the table says it, read by another reader.

        Two of the 639 are whole files without marks, of 229 and 530 sentences: ⌈229/12⌉ = 20 and ⌈530/12⌉ = 45 runs.
        """
        documents = productreviews.read()
        assert len(documents) == 639 - 2 + 20 + 45
        assert sum(len(document.texts) for document in documents) == ProductReviews.source.examples == 8194
        assert Counter(document.product for document in documents if not document.marked) == {
            "Canon_PowerShot_SD500": 20, "ipod": 45,
        }  # fmt: skip
        with gzip.open(find_file(ProductReviews.source, ProductReviews.source.files[0].path), "rt") as file:
            table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        wanted = [(row["product"], row["text"], int(row["polarity"]) + 1, row["category"]) for row in table]
        found = [
            (document.product, text, polarity, productreviews.TOPICS[document.topic])
            for document in documents
            for text, polarity in zip(document.texts, document.polarities, strict=True)
        ]
        assert found == wanted and Counter(polarity for _, _, polarity, _ in found) == {0: 1379, 1: 4385, 2: 2430}

    @pytest.mark.parametrize("dataset", [ProductReviews(), ProductReviews(clients=5, length=400)], ids=repr)
    def test_no_sentence_of_a_test_document_is_trained_on(self, dataset: ProductReviews) -> None:
        federation = dataset.load(0)
        tested: set[bytes] = set()
        trained: set[bytes] = set()
        for data in federation.clients.values():
            for split, rows in ((data.train, trained), (data.test, tested)):
                rows |= {x.tobytes() for x, y in zip(split.x, split.y["polarity"], strict=True) if not np.isnan(y)}
        assert not tested & trained
        assert examples(federation) > 0.98 * (8194 + 702)

    def test_an_example_has_one_label(self) -> None:
        for data in ProductReviews().load(1).clients.values():
            for split in data:
                assert (np.isnan(split.y["polarity"]) != np.isnan(split.y["topic"])).all()
                assert len(set(split.y["topic"][~np.isnan(split.y["topic"])])) == 1  # a product has one topic

    def test_balanced_weighs_polarity_by_all_training_sentences(self) -> None:
        """n / (3 n_c), as scikit-learn's, which counts the same labels; inputs and labels stay as they are."""
        federation, plain = ProductReviews(balanced=True).load(2), ProductReviews().load(2)
        labels = np.concatenate([data.train.y["polarity"] for data in plain.clients.values()])
        wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels[~np.isnan(labels)])
        weights = np.array(federation.tasks["polarity"].class_weights)  # pyright: ignore[reportAttributeAccessIssue]
        np.testing.assert_allclose(weights, wanted, rtol=1e-6)
        assert federation.tasks["topic"] == plain.tasks["topic"]
        for one, other in zip(federation.clients.values(), plain.clients.values(), strict=True):
            np.testing.assert_array_equal(one.train.x, other.train.x)

    def test_unmarked_products_test_one_stretch(self) -> None:
        documents = productreviews.read()
        own = np.array([row for row, document in enumerate(documents) if document.product == "ipod"])
        for seed in range(5):
            train, test = ProductReviews()._divided(documents, own, seed, 9)
            assert np.diff(test).tolist() == [1] * (len(test) - 1) and sorted(train + test) == own.tolist()

    def test_baseline(self) -> None:
        """TF-IDF and a linear SVM, trained on all clients' sentences: 0.653, where the majority has 0.487.

        Of documents that other divisions test on, so within 0.04.
        """
        documents = productreviews.read()
        owner = {name: k for k, name in enumerate(dict.fromkeys(document.product for document in documents))}
        train, test = [], []
        for client in owner.values():
            own = np.array([row for row, each in enumerate(documents) if owner[each.product] == client])
            for rows, part in zip(ProductReviews()._divided(documents, own, 0, client), (train, test), strict=True):
                part += [
                    pair for row in rows for pair in zip(documents[row].texts, documents[row].polarities, strict=True)
                ]
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC(C=0.3))
        model.fit([text for text, _ in train], [label for _, label in train])
        assert model.score([text for text, _ in test], [label for _, label in test]) == pytest.approx(0.653, abs=0.04)


@needs(MovieReviews.source)
class TestMovieReviews:
    def test_sizes(self) -> None:
        """2,000 documents, 1,000 of each class, each number of the cross-validation in both; ten folds of 200."""
        reviews = moviereviews.read()
        assert Counter(review.positive for review in reviews) == {0: 1000, 1: 1000}
        assert Counter(review.number for review in reviews) == dict.fromkeys(range(1000), 2)
        assert sum(len(review.sentences) for review in reviews) == 64720
        assert MovieReviews().load(0).sizes.tolist() == [[150, 50]] * 10

    def test_baseline(self) -> None:
        """TF-IDF and a linear SVM on whole texts: 0.895."""
        reviews = moviereviews.read()
        texts, labels = [" ".join(r.sentences) for r in reviews], np.array([r.positive for r in reviews])
        fold = np.array([r.number for r in reviews]) % 4 == 0
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2), LinearSVC())
        model.fit(list(itertools.compress(texts, ~fold)), labels[~fold])
        assert model.score(list(itertools.compress(texts, fold)), labels[fold]) == pytest.approx(0.895, abs=0.03)


@needs(HAR.source)
class TestHAR:
    def test_sizes(self) -> None:
        """10,299 windows of 30 people and six activities, of which the authors test on 2,947 of nine people."""
        windows = har.read()
        assert windows.x.shape == (10299, 9, 128) and set(windows.person) == set(range(1, 31))
        assert windows.official_test.sum() == 2947 and len(set(windows.person[windows.official_test])) == 9
        assert set(windows.activity) == set(range(6))
        with np.load(find_file(HAR.source, HAR.source.files[0].path)) as raw:
            assert tuple(raw["classes"]) == har.ACTIVITIES
        assert examples(HAR().load(0)) == HAR.source.examples == 10299

    def test_windows_of_a_bout_overlap_by_half(self) -> None:
        """So that bouts, and not windows, have to be divided: the second half of most is the first of the next.

        Channels have 128 samples in time; a window and the next of its bout share 64 of them.
        """
        windows = har.read()
        same = (windows.bout[1:] == windows.bout[:-1]) & (windows.person[1:] == windows.person[:-1])
        shared = np.abs(windows.x[:-1][same][:, :, 64:] - windows.x[1:][same][:, :, :64]).max((1, 2)) < 1e-3
        assert shared.mean() > 0.9

    def test_no_bout_is_trained_and_tested_on(self) -> None:
        windows = har.read()
        tested = HAR().tested(windows, 0)
        assert not set(windows.bout[tested]) & set(windows.bout[~tested])
        for some in (tested, ~tested):  # every person does everything in both parts
            assert len(set(zip(windows.person[some].tolist(), windows.activity[some].tolist(), strict=True))) == 180
        sizes = HAR().load(0).sizes
        assert sizes[:, 1].tolist() == [tested[windows.person == person].sum() for person in range(1, 31)]

    def test_scale_is_that_of_the_persons_training_windows(self) -> None:
        for data in HAR().load(0).clients.values():
            np.testing.assert_allclose(data.train.x.mean((0, 2)), 0, atol=1e-3)
            np.testing.assert_allclose(data.train.x.std((0, 2)), 1, atol=1e-3)

    def test_baseline(self) -> None:
        """A logistic regression of each person's own, on the summaries: 0.941."""
        scores = []
        for data in HAR(summaries=True).load(0).clients.values():
            model = LogisticRegression(C=1.0, max_iter=200).fit(data.train.x, data.train.y["activity"])
            scores.append(model.score(data.test.x, data.test.y["activity"]))
        assert np.mean(scores) == pytest.approx(0.941, abs=0.02)


@needs(School.source)
class TestSchool:
    def test_sizes(self) -> None:
        schools = school.read()
        assert len(schools) == 139 and sum(len(y) for _, y in schools) == School.source.examples == 15362
        federation = School().load(0)
        assert examples(federation) == 15362 and federation.input_shape == (27,)
        for (_, y), (train, test) in zip(schools, federation.sizes.tolist(), strict=True):
            assert train + test == len(y) and test == round(0.25 * len(y))

    def test_baseline(self) -> None:
        """Explained variance of a ridge of each school, 0.328, and of one of all, 0.336; other pupils, within 0.02."""
        federation = School().load(0)
        x, y = stacked(federation, 0, "score")
        truth = stacked(federation, 1, "score")[1]
        pooled = Ridge(30.0).fit(x, y).predict(stacked(federation, 1, "score")[0])
        single = [
            Ridge(60.0).fit(data.train.x, data.train.y["score"]).predict(data.test.x)
            for data in federation.clients.values()
        ]
        assert r2_score(truth, pooled) == pytest.approx(0.336, abs=0.02)
        assert r2_score(truth, np.concatenate(single)) == pytest.approx(0.328, abs=0.02)


@needs(Landmine.source)
class TestLandmine:
    def test_sizes(self) -> None:
        """14,820 signatures of 29 fields, 6.1 % of them mines; both classes in both parts of a field."""
        x, y, field = landmine.read()
        assert x.shape == (14820, 9) and set(field) == set(range(29)) and round(y.mean(), 3) == 0.061
        federation = Landmine().load(0)
        assert examples(federation) == Landmine.source.examples == 14820
        for client, data in federation.clients.items():
            assert len(data.train.x) + len(data.test.x) == (field == client).sum()
            assert abs(data.train.y["mine"].sum() - data.test.y["mine"].sum()) <= 1

    def test_baseline(self) -> None:
        """Mean area under the curve of a logistic regression of each field, 0.770, and of one of all, 0.742."""
        federation = Landmine().load(0)
        pooled = LogisticRegression(C=1.0, max_iter=500).fit(*stacked(federation, 0, "mine"))
        alone, together = [], []
        for data in federation.clients.values():
            model = LogisticRegression(C=0.1, max_iter=500).fit(data.train.x, data.train.y["mine"])
            alone.append(roc_auc_score(data.test.y["mine"], model.decision_function(data.test.x)))
            together.append(roc_auc_score(data.test.y["mine"], pooled.decision_function(data.test.x)))
        assert np.mean(alone) == pytest.approx(0.770, abs=0.02)
        assert np.mean(together) == pytest.approx(0.742, abs=0.02)


@needs(Parkinsons.source)
class TestParkinsons:
    def test_sizes(self) -> None:
        """5,875 recordings of 42 people; of 22 columns the subject, age, sex, time and two scores are no inputs."""
        voices = parkinsons.read()
        assert voices.x.shape == (5875, 22 - 6) and len(set(voices.person)) == 42
        assert examples(Parkinsons().load(0)) == Parkinsons.source.examples == 5875

    def test_a_session_is_recordings_on_one_day(self) -> None:
        assert parkinsons.sessions(np.array([5.64, 12.67, 5.65, 12.66, 19.0])).tolist() == [0, 1, 0, 1, 2]

    def test_no_session_is_trained_and_tested_on(self) -> None:
        """Within a person, a tested recording is a tenth of a day or more from every one that is trained on."""
        voices = parkinsons.read()
        for client, person in enumerate(range(1, 43)):
            train, test = Parkinsons()._divided(voices, person, 0, client)
            assert np.abs(voices.day[train][:, None] - voices.day[test]).min() > parkinsons.SAME_DAY
            assert len(train) + len(test) == (voices.person == person).sum()

    def test_baseline(self) -> None:
        """Mean absolute error of one ridge's motor score: 6.33."""
        federation = Parkinsons().load(0)
        x, y = stacked(federation, 1, "motor")
        found = Ridge(1.0).fit(*stacked(federation, 0, "motor")).predict(x)
        assert np.abs(found - y).mean() == pytest.approx(6.33, abs=0.2)


@needs(BeijingAir.source)
class TestBeijingAir:
    def test_sizes(self) -> None:
        """Twelve stations, eleven variables, all hours from March 2013 to February 2017: (3 · 365 + 366) · 24."""
        hours = beijingair.read()
        assert hours.values.shape == (12, 11, (3 * 365 + 366) * 24)
        assert 12 * hours.values.shape[2] == BeijingAir.source.examples == 420768
        assert round(float(np.isnan(hours.values).mean()), 3) == 0.016
        assert [name.replace(".", "_") for name in hours.variables[:6]] == list(beijingair.POLLUTANTS)

    @pytest.mark.parametrize("ahead", [1, 24])
    def test_split_is_by_time(self, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a station whose values are the hours themselves: every input and label of training is before the test."""
        hours = np.broadcast_to(np.arange(1000, dtype=np.float32), (2, 11, 1000)).copy()
        hours[0, 0, 10] = np.nan
        monkeypatch.setattr(beijingair, "read", lambda: beijingair.Hours(hours, ("a", "b"), ("",) * 11))
        monkeypatch.setattr(beijingair, "scaled_together", lambda parts, *_: (parts, None))
        data = BeijingAir(ahead=ahead, step=1).load(0).clients[1]
        for split in data:
            np.testing.assert_array_equal(split.y["O3"], split.x[:, 0] + ahead)
        assert data.train.y["O3"].max() < data.test.x.min() == 750
        assert len(data.train.x) == 750 - ahead and len(data.test.x) == 250 - ahead
        lacking = BeijingAir(ahead=ahead, step=1).load(0).clients[0]
        assert len(lacking.train.x) == 749 - ahead and 10 not in lacking.train.x[:, 1]
        assert np.isnan(lacking.train.y["PM2_5"]).sum() == (1 if ahead < 10 else 0)

    def test_baseline(self) -> None:
        """R² of one ridge for PM2.5 an hour ahead: 0.946."""
        federation = BeijingAir().load(0)
        x, y = stacked(federation, 1, "PM2_5")
        assert Ridge(1.0).fit(*stacked(federation, 0, "PM2_5")).score(x, y) == pytest.approx(0.946, abs=0.015)


@needs(Omniglot.source)
class TestOmniglot:
    def test_sizes(self) -> None:
        """Eight alphabets of 242 characters, each drawn by 20 people."""
        drawings = omniglot.read()
        assert sum(omniglot.ALPHABETS.values()) == 242 and len(drawings.x) == 242 * 20 == Omniglot.source.examples
        for alphabet, characters in enumerate(omniglot.ALPHABETS.values()):
            own = drawings.alphabet == alphabet
            pairs = set(zip(drawings.character[own].tolist(), drawings.drawer[own].tolist(), strict=True))
            assert pairs == set(itertools.product(range(characters), range(20))) and own.sum() == len(pairs)
        with np.load(find_file(Omniglot.source, Omniglot.source.files[0].path)) as raw:
            plain = [str(name).replace("(", "").replace(")", "") for name in raw["alphabets"]]
        assert plain == list(omniglot.ALPHABETS)
        assert 0 == drawings.x.min() < drawings.x.mean() < 0.3 < drawings.x.max() == 1  # ink is high, and rare

    def test_natural_clients(self) -> None:
        federation = Omniglot().load(0)
        assert len(federation.clients) == 160 and examples(federation) == 4840
        for data in federation.clients.values():
            (task,) = data.tasks
            assert not set(data.train.y[task]) & set(data.test.y[task])

    def test_baseline_on_a_drawer_that_training_has_not_seen(self) -> None:
        """A logistic regression of an alphabet, five drawers of 20 tested on: 0.28 to 0.58, alphabet by alphabet."""
        federation = Omniglot(drawers=4).load(0)
        assert len(federation.clients) == 40 and examples(federation) == 4840
        scores = []
        for task in ("Greek", "Japanese_katakana"):
            (x, y), (seen, labels) = stacked(federation, 0, task), stacked(federation, 1, task)
            assert len(y) == 15 * omniglot.ALPHABETS[task] and set(labels) == set(range(omniglot.ALPHABETS[task]))
            model = LogisticRegression(C=0.01, max_iter=100).fit(x.reshape(len(x), -1), y)
            scores.append(model.score(seen.reshape(len(seen), -1), labels))
        assert 0.28 < min(scores) and max(scores) < 0.58


class TestFashionMNIST:
    @needs(FashionMNIST.source)
    def test_sizes(self) -> None:
        """600 and 100 images of each of ten articles."""
        for part, count in zip(fashionmnist.read(False), (600, 100), strict=True):
            assert Counter(part.y.tolist()) == dict.fromkeys(range(10), count) and part.x.shape[1:] == (28, 28)
        federation = FashionMNIST(clients=7).load(0)
        assert examples(federation) == 7000 and len(federation.clients) == 7
        x = stacked(federation, 0, "article")[0]
        assert x.min() == 0 and x.max() == 1

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
    @needs(FashionMNIST.source)
    def test_baseline(self) -> None:
        """A logistic regression on the authors' parts: 0.822."""
        train, test = fashionmnist.read(False)
        x, tested = (part.x.reshape(-1, 784).astype(np.float32) / 255 for part in (train, test))
        model = LogisticRegression(C=0.01, max_iter=60).fit(x, train.y)
        assert model.score(tested, test.y) == pytest.approx(0.822, abs=0.02)

    @pytest.mark.skipif(
        not (has_files(fashionmnist.WHOLE) and has_files((fashionmnist.EXCERPT,))),
        reason="not both the whole Fashion-MNIST and its excerpt are in the data home",
    )
    def test_the_small_file_is_of_the_whole_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        small = fashionmnist.read(False)
        assert [len(part.y) for part in fashionmnist.read(True)] == [60000, 10000]
        monkeypatch.setattr(fashionmnist, "has_files", lambda files: False)
        for one, other in zip(fashionmnist.read(False), small, strict=True):
            assert (one.x == other.x).all() and (one.y == other.y).all()

    def test_whole_files_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Written here as IDX: 16 bytes before images, 8 before labels."""
        draw, wanted = np.random.default_rng(0), []
        for k, (kind, count) in enumerate([("images", 30), ("labels", 30), ("images", 20), ("labels", 20)]):
            values = draw.integers(0, 10, (count, 28, 28) if kind == "images" else count, np.uint8)
            wanted.append(values)
            content = bytes(16 if kind == "images" else 8) + values.tobytes()
            (tmp_path / fashionmnist.WHOLE[k].path.split("/")[1]).write_bytes(gzip.compress(content))
        monkeypatch.setattr(fashionmnist, "find_file", lambda source, path: tmp_path / path.split("/")[1])
        for part, x, y in zip(fashionmnist.read(True), wanted[::2], wanted[1::2], strict=True):
            assert (part.x == x).all() and (part.y == y).all()

    def test_chosen(self) -> None:
        """Distinct rows of equally many of each class, in ascending order."""
        labels = np.arange(20000) % 10
        train, test = fashionmnist.chosen(labels, labels)
        for rows, count in ((train, 600), (test, 100)):
            assert Counter(labels[rows].tolist()) == dict.fromkeys(range(10), count) and (np.diff(rows) > 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProductReviews(clients=-1), "1 to 100 sites, .* got clients=-1"),
        (lambda: ProductReviews(alpha=0.0), "positive, finite alpha, got alpha=0.0"),
        (lambda: ProductReviews(length=0), "at least one word of a text, got length=0"),
        (lambda: ProductReviews(vocabulary=1), "got vocabulary=1; use 4096"),
        (lambda: MovieReviews(clients=501), "1 to 500 clients, got clients=501"),
        (lambda: HAR(test_fraction=1.0), r"HAR tests on a fraction in \(0, 1\)"),
        (lambda: School(test_fraction=0.0), "School tests on a fraction"),
        (lambda: Landmine(test_fraction=2.0), "Landmine tests on a fraction"),
        (lambda: Parkinsons(test_fraction=-1.0), "Parkinsons tests on a fraction"),
        (lambda: BeijingAir(ahead=0), "1 to 168 hours ahead, got ahead=0"),
        (lambda: BeijingAir(step=0), "got step=0; use 7"),
        (lambda: FashionMNIST(clients=0), "7,000 images, for 1 to 875 clients .* got clients=0"),
        (lambda: FashionMNIST(alpha=-1.0), "positive, finite alpha, got alpha=-1.0"),
        (lambda: Omniglot(drawers=3), "got drawers=3; use 1, 2, 4, 5, 10 or 20"),
    ],
)
def test_what_they_refuse(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
