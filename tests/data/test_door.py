"""Arrays as people have them: taken without a change of their numbers, or refused in one line with the way out."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.data import ClientData, Federation, Split, from_arrays
from fedmtl.tasks import Binary, MultiClass, MultiLabel, Regression

NAN = math.nan
N = 40
DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((N, 3)).astype(np.float32)
CLASSES = np.arange(N) % 4
YES_NO = np.arange(N) % 2


def holes(values: Any, place: Any = 3, hole: Any = NAN) -> Any:
    found = np.array(values, dtype=object if hole is None else float)
    found[place] = hole
    return found


def task(y: Any, *others: Any, **options: Any) -> Any:
    """The task that is inferred of one client's labels, and others'."""
    clients = {k: (np.ones((len(labels), 2)), {"y": labels}) for k, labels in enumerate((y, *others))}
    return from_arrays(clients, **options).load(0).tasks["y"]


def loaded(x: Any, y: Any = YES_NO, **options: Any) -> np.ndarray:
    """What x became, all rows in their order: trained on as they are."""
    part = (x, {"y": y})
    return from_arrays({0: {"train": part, "test": part}}, **options).load(0).clients[0].train.x


class Extension:
    """A column as of pandas' Int64 and boolean: numbers beside a mask, whose dtype is no numpy dtype."""

    class Kind:
        def __init__(self, numpy_dtype: np.dtype) -> None:
            self.numpy_dtype, self.kind = numpy_dtype, numpy_dtype.kind

    def __init__(self, values: Any, gaps: Any) -> None:
        self.values, self.gaps = np.array(values), np.array(gaps, bool)
        self.dtype = Extension.Kind(self.values.dtype)

    def __len__(self) -> int:
        return len(self.values)

    def isna(self) -> np.ndarray:
        return self.gaps

    def to_numpy(self, dtype: Any = None, na_value: Any = None) -> np.ndarray:
        found = self.values.astype(dtype if dtype is not None else object)
        if self.gaps.any():
            found[self.gaps] = na_value
        return found


class Column:
    """A column with a numpy dtype and an index."""

    def __init__(self, values: Any, index: Any = None) -> None:
        self.values = np.asarray(values)
        self.dtype = self.values.dtype
        self.index = None if index is None else Index(index)

    def to_numpy(self) -> np.ndarray:
        return self.values


class Index:
    def __init__(self, labels: Any) -> None:
        self.labels = list(labels)

    def equals(self, other: "Index") -> bool:
        return self.labels == other.labels

    def sort_values(self) -> "Index":
        return Index(sorted(self.labels))


class Table:
    """A DataFrame's outside."""

    def __init__(self, columns: dict[str, Any], index: Any = None) -> None:
        self.parts, self.columns = columns, list(columns)
        self.index = None if index is None else Index(index)

    def __len__(self) -> int:
        return N

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]

    def to_numpy(self) -> np.ndarray:
        raise AssertionError("columns have types of their own")


class Sparse:
    """A matrix of scipy's outside."""

    nnz = 3

    def __init__(self, dense: Any) -> None:
        self.dense, self.shape = np.asarray(dense), np.shape(dense)

    def toarray(self) -> np.ndarray:
        return self.dense


ONE_HOT = np.eye(4)[CLASSES]
GAPS = np.arange(N) == 3
INFERRED = {
    "classes with NaN": (holes(CLASSES), {"missing": NAN}, MultiClass(4)),
    "classes with None": (holes(CLASSES, hole=None), {"missing": NAN}, MultiClass(4)),
    "classes of float32": (CLASSES.astype(np.float32), {}, MultiClass(4)),
    "classes of float16": (CLASSES.astype(np.float16), {}, MultiClass(4)),
    "classes of longdouble": (CLASSES.astype(np.longdouble), {}, MultiClass(4)),
    "classes in Int64 with NA": (Extension(CLASSES, GAPS), {"missing": NAN}, MultiClass(4)),
    "classes in Int64 without NA": (Extension(CLASSES, GAPS & False), {}, MultiClass(4)),
    "boolean with NA": (Extension(YES_NO > 0, GAPS), {"missing": NAN}, Binary()),
    "masked classes": (np.ma.masked_array(CLASSES, GAPS), {"missing": NAN}, MultiClass(4)),
    "a mask that masks nothing": (np.ma.masked_array(CLASSES, GAPS & False), {}, MultiClass(4)),
    "classes in a tensor": (torch.tensor(CLASSES), {}, MultiClass(4)),
    "classes in a bfloat16 tensor": (torch.tensor(CLASSES).bfloat16(), {}, MultiClass(4)),
    "big-endian classes": (CLASSES.astype(">i4"), {}, MultiClass(4)),
    "a list": (CLASSES.tolist(), {}, MultiClass(4)),
    "Python numbers": (CLASSES.astype(object), {}, MultiClass(4)),
    "a gap in the classes": (np.where(CLASSES == 1, 0, CLASSES), {}, MultiClass(4)),
    "-1 for missing, in floats": (holes(CLASSES, hole=-1.0), {"missing": -1}, MultiClass(4)),
    "-1 and 1": (2 * YES_NO - 1, {}, Binary()),
    "-1. and 1.": (2.0 * YES_NO - 1, {}, Binary()),
    "-1 and 1 with NaN": (holes(2 * YES_NO - 1), {"missing": NAN}, Binary()),
    "True and False": (YES_NO > 0, {}, Binary()),
    "0. and 1. with NaN": (holes(YES_NO), {"missing": NAN}, Binary()),
    "a column": (CLASSES[:, None], {}, MultiClass(4)),
    "a column of 0 and 1": (YES_NO[:, None], {}, Binary()),
    "a column of fractions": (X[:, :1], {}, Regression),
    "a table of one column": (Table({"sick": Column(YES_NO)}), {}, Binary()),
    "one-hot": (ONE_HOT, {}, MultiClass(4)),
    "one-hot, two classes": (np.eye(2)[YES_NO], {}, MultiClass(2)),
    "one-hot of booleans": (ONE_HOT > 0, {}, MultiClass(4)),
    "one-hot in a tensor": (torch.nn.functional.one_hot(torch.tensor(CLASSES)), {}, MultiClass(4)),
    "one-hot, a class nobody has": (np.eye(6)[CLASSES], {}, MultiClass(6)),
    "one-hot, a row not labelled": (np.where(GAPS[:, None], NAN, ONE_HOT), {"missing": NAN}, MultiClass(4)),
    "labels of which some rows have two": (np.where(GAPS[:, None], 1, ONE_HOT), {}, MultiLabel(4)),
    "labels of which some rows have none": (np.where(GAPS[:, None], 0, ONE_HOT), {}, MultiLabel(4)),
    "labels of which some are missing": (holes(ONE_HOT, (3, 1)), {"missing": NAN}, MultiLabel(4)),
    "fractions": (X[:, 0], {}, Regression),
    "Fractions": ([Fraction(int(c), 3) for c in CLASSES], {}, Regression),
    "whole degrees of both signs": (np.arange(N) - 20.0, {}, Regression),
    "prices in whole euros": (np.arange(N) * 1000.0, {}, Regression),
    "whole numbers beyond classes": (np.arange(N) * 1e12, {}, Regression),
    "told": (CLASSES, {"tasks": {"y": Regression(1.5, 1.1)}}, Regression(1.5, 1.1)),
    "told to be several labels": (ONE_HOT, {"tasks": {"y": MultiLabel(4)}}, MultiLabel(4)),
}


@pytest.mark.parametrize("case", INFERRED)
def test_tasks(case: str) -> None:
    y, options, expected = INFERRED[case]
    found = task(y, **options)
    assert isinstance(found, expected) if isinstance(expected, type) else found == expected


def test_all_clients_decide_together() -> None:
    """One client's floats, its columns without a second 1, its -1: none of them says what the task is."""
    assert task(CLASSES, CLASSES.astype(float)) == MultiClass(4)
    assert task(CLASSES, holes(CLASSES), missing=NAN) == MultiClass(4)
    assert task(ONE_HOT, np.where(GAPS[:, None], 1, ONE_HOT)) == MultiLabel(4)
    assert task(CLASSES, X[:, 0]) != MultiClass(4)
    assert task(2 * YES_NO - 1, np.ones(N)) == Binary()
    with pytest.raises(ValueError, match="whole numbers from -1 to 1"):
        task(2 * YES_NO - 1, YES_NO)


def test_labels_in_the_form_of_their_task() -> None:
    """One-hot rows as the place of their 1, -1 and 1 as 0 and 1, gaps as NaN; nothing else moves."""
    part = (X, {"y": np.where(GAPS[:, None], NAN, ONE_HOT), "z": 2 * YES_NO - 1, "c": CLASSES[:, None]})
    y = from_arrays({0: {"train": part, "test": part}}, missing=NAN).load(0).clients[0].train.y
    np.testing.assert_array_equal(y["y"], np.where(GAPS, NAN, CLASSES))
    np.testing.assert_array_equal(y["z"], YES_NO)
    np.testing.assert_array_equal(y["c"], CLASSES)


def test_some_tasks_may_be_given_and_the_rest_inferred() -> None:
    """A question about one task is answered by naming that one; a slip in its name is found."""
    part = (X, {"a": CLASSES, "b": np.arange(N) % 3 - 1})
    federation = from_arrays({0: part}, tasks={"b": Regression()}).load(0)
    assert federation.tasks == {"a": MultiClass(4), "b": Regression()}
    with pytest.raises(ValueError, match=r"labels for unknown task 'a'; the tasks are \['B'\]"):
        from_arrays({0: part}, tasks={"B": Regression()})


ASKED = {
    "-1, 0 and 1": (np.arange(N) % 3 - 1, r"-1 to 1, 3 distinct .*missing=-1.*MultiClass\(3\).*Regression\("),
    "-1., 0. and 1.": (np.arange(N) % 3 - 1.0, r"missing=-1.*MultiClass\(3\).*Regression"),
    "-1 and 0": (YES_NO - 1, r"missing=-1.*MultiClass\(2\)"),
    "-1 to 3": (np.arange(N) % 5 - 1, r"missing=-1.*MultiClass\(5\)"),
    "99 beside four classes": (holes(CLASSES, hole=99).astype(int), r"missing=99.*MultiClass\(100\)"),
    "99. beside four classes": (holes(CLASSES, hole=99), r"missing=99.*MultiClass\(100\)"),
    "255 beside four classes": (holes(CLASSES, hole=255).astype(np.uint8), "missing=255"),
    "years": (1990 + CLASSES, r"MultiClass\(1994\).*Regression\(1991.5, 1.1"),
    "ids": (2**40 + CLASSES, "classes numbered from 0"),
    "each value once": (np.arange(10.0), "not clear"),
    "few round amounts": (100.0 + 100 * CLASSES, "not clear"),
    "200 classes with gaps": (np.arange(1000) % 200 * 1.0, r"MultiClass\(200\)"),
}


@pytest.mark.parametrize("case", ASKED)
def test_questions(case: str) -> None:
    y, message = ASKED[case]
    with pytest.raises(ValueError, match=message) as error:
        task(y)
    assert "\n" not in str(error.value) and "tasks={'y': " in str(error.value)


TAKEN = {
    "float64": (X.astype(np.float64), X),
    "float16": (X.astype(np.float16), X.astype(np.float16)),
    "longdouble": (X.astype(np.longdouble), X),
    "Fortran order": (np.asfortranarray(X), X),
    "negative strides": (X[::-1, ::-1], X[::-1, ::-1]),
    "every other column": (np.repeat(X, 2, 1)[:, ::2], X),
    "big-endian": (X.astype(">f8"), X),
    "a list of lists": (X.tolist(), X),
    "a list of tensors": (list(torch.tensor(X)), X),
    "a tensor with grad": (torch.tensor(X, requires_grad=True), X),
    "a transposed tensor": (torch.tensor(X.T.copy()).T, X),
    "a sparse tensor": (torch.tensor(X).to_sparse(), X),
    "a CSR tensor": (torch.tensor(X).to_sparse_csr(), X),
    "a bfloat16 tensor": (torch.tensor(X).bfloat16(), torch.tensor(X).bfloat16().float().numpy()),
    "a parameter": (torch.nn.Parameter(torch.tensor(X)), X),
    "a sparse matrix": (Sparse(X), X),
    "a matrix": (np.asmatrix(X), X),
    "a table": (Table({"a": Column(X[:, 0]), "b": Column(X[:, 1])}), X[:, :2]),
    "a mixed table": (
        Table({"a": Column(X[:, 0]), "b": Column(CLASSES), "c": Column(YES_NO > 0)}),
        np.stack([X[:, 0], CLASSES, YES_NO], 1).astype(np.float32),
    ),
    "Python numbers": (X.astype(object), X),
    "a column of arrays": (Column(np.array([*X, None], dtype=object)[:-1]), X),
    "a mask that masks nothing": (np.ma.masked_array(X, False), X),
    "a read-only array": (np.frombuffer(X.tobytes(), np.float32).reshape(X.shape), X),
}


@pytest.mark.parametrize("case", TAKEN)
def test_inputs(case: str) -> None:
    given, expected = TAKEN[case]
    found = loaded(given)
    assert found.dtype == np.float32 and found.flags.c_contiguous and found.flags.writeable
    np.testing.assert_array_equal(found, np.asarray(expected, np.float32))


@pytest.mark.parametrize(
    "kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4", "bool"]
)
def test_whole_numbers_stay_whole(kind: str) -> None:
    ids = (np.arange(3 * N).reshape(N, 3) % 2 if kind == "bool" else np.arange(3 * N).reshape(N, 3)).astype(kind)
    found = loaded(ids)
    assert found.dtype == np.int64 and (found == ids).all()


def test_large_whole_numbers_are_kept_to_the_last() -> None:
    ids = 2**62 + np.arange(N)[:, None]
    assert (loaded(ids) == ids).all()
    assert (loaded(Extension(ids[:, 0], GAPS & False).to_numpy(dtype=np.int64)[:, None]) == ids).all()


def test_one_client_with_fractions_makes_all_floats() -> None:
    """As one model sees them all. Whole numbers up to 2**24 are exact in float32."""
    ids = np.arange(3 * N).reshape(N, 3)
    federation = from_arrays({0: (ids, {"y": YES_NO}), 1: (X, {"y": YES_NO})}).load(0)
    kinds = {part.x.dtype for data in federation.clients.values() for part in data}
    assert kinds == {np.dtype(np.float32)} and not federation.schema.integer_inputs
    own = federation.clients[0]
    assert sorted(np.concatenate([own.train.x, own.test.x])[:, 0]) == list(range(0, 3 * N, 3))


TIMES = 1.6e9 + np.arange(N)[:, None] / 7
REFUSED = {
    "complex": (X + 1j, "complex64 .* real and imaginary part"),
    "a complex tensor": (torch.tensor(X) + 1j, "torch.complex64 .* real and imaginary part"),
    "text": (X.astype(str), "not text.*astype"),
    "text among numbers": ([[1.0, "low"]] * N, "not text"),
    "text among objects": (np.array([[1.0, "low"]] * N, dtype=object), r"a str, 'low', at \[0, 1\]"),
    "dates": (np.full((N, 1), "2020-01-01", "M8[D]"), "not dates; give the time since"),
    "durations": (np.full((N, 1), 3, "m8[s]"), "not durations; divide by a unit"),
    "records": (np.zeros(N, [("a", "f4"), ("b", "f4")]), "not records; give each field as a column"),
    "objects": (np.array([[object()]] * N), "a object"),
    "ragged rows": ([[1.0, 2.0], [3.0]] * (N // 2), "same length"),
    "ragged arrays": (
        np.array([np.zeros(2), np.zeros(3)] * (N // 2), dtype=object),
        r"rows of unlike shapes.*pad or cut",
    ),
    "ragged tensors": ([torch.zeros(2), torch.zeros(3)] * (N // 2), "unlike shapes"),
    "a generator": ((row for row in X), "a generator"),
    "nothing": (None, "inputs"),
    "a vector": (X[:, 0], r"for \[N\], use x\[:, None\]"),
    "a scalar": (3.0, "for \\[N\\], use"),
    "no feature": (X[:, :0], "hold no number"),
    "rows and columns exchanged": (X.T, "40 labels for 3 inputs; use x.T"),
    "NaN": (holes(X, (3, 1)), r"NaN or infinity in 1 row\(s\), first row 3, feature 1 \(nan\); drop or impute"),
    "infinity": (holes(X, (3, 1), np.inf), r"first row 3, feature 1 \(inf\)"),
    "None": (holes(X, (3, 1), None), "feature 1"),
    "masked": (np.ma.masked_array(X, X > 1), "NaN or infinity"),
    "NaN in an image": (holes(X[:, :, None, None], (3, 1, 0, 0)), r"feature \[1, 0, 0\]"),
    "NaN in a table": (Table({"a": Column(X[:, 0]), "age": Column(holes(X[:, 1]))}), "column 'age', first row 3"),
    "NA in a table": (Table({"age": Extension(CLASSES, GAPS), "b": Column(X[:, 0])}), "column 'age', first row 3"),
    "text in a table": (Table({"a": Column(X[:, 0]), "city": Column(["x"] * N)}), "column 'city'.*not text"),
    "beyond float32": (X.astype(float) * 1e200, "beyond float32.*scale"),
    "beyond int64": (np.full((N, 1), 2**63, np.uint64), "int64, below 2"),
    "beyond 64 bits": ([[2**64]] * N, "no type of 64 bits"),
    "ids in floats": (2.0**24 + np.arange(N)[:, None], "19 of 40 distinct values in feature 0 .* merge"),
    "times": (TIMES, "float32 keeps 7 digits, by which .* of 40 distinct values"),
    "an offset": (1 + 1e-10 * np.arange(N)[:, None], "39 of 40 distinct values"),
    "vanishing numbers": (1e-60 * np.arange(N)[:, None], "39 of 40 distinct values"),
    "ids beside fractions": (
        Table({"id": Column(2**54 + np.arange(N)), "b": Column(X[:, 0])}),
        "column 'id'.*2\\*\\*53",
    ),
    "an index in another order": (Table({"a": Column(X[:, 0])}, index=range(N, 0, -1)), "y.loc"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_inputs_that_are_refused(case: str) -> None:
    given, message = REFUSED[case]
    y: Any = Column(YES_NO, index=range(1, N + 1)) if "index" in case else YES_NO
    with pytest.raises(ValueError, match=message) as error:
        from_arrays({7: (given, {"y": y})})
    assert "\n" not in str(error.value)
    assert "7" in str(error.value) or "merge" in message or "distinct" in message


def test_numbers_that_float32_holds_pass() -> None:
    """Given as float32 they are the user's own rounding; random ones and the noise of float64 are nobody's loss."""
    assert len(np.unique(loaded(TIMES.astype(np.float32)))) == 1
    assert loaded(DRAW.standard_normal((N, 2)) * 1e12).dtype == np.float32
    assert (loaded(np.full((N, 1), 0.1) * (1 + np.arange(N)[:, None] % 2 * 2e-16)) == np.float32(0.1)).all()
    assert (loaded(2.0**24 + 2 * np.arange(N)[:, None])[:, 0] == 2**24 + 2 * np.arange(N)).all()


LABELS = {
    "complex": (CLASSES + 1j, "real and imaginary part"),
    "digits as text": (np.array(list("0123"))[CLASSES], r"convert digits with astype\(float\)"),
    "dates": (np.full(N, "2020-01-01", "M8[D]"), "not dates"),
    "infinity": (holes(X[:, 0], hole=np.inf), r"1 label\(s\) are infinite, the first in row 3"),
    "-infinity among classes": (holes(CLASSES, hole=-np.inf), r"1 label\(s\) are infinite, the first in row 3"),
    "NaN": (holes(CLASSES), r"1 label\(s\) are NaN, the first in row 3; pass missing="),
    "NA": (Extension(CLASSES, GAPS), r"1 label\(s\) are NaN, the first in row 3; pass missing="),
    "masked": (np.ma.masked_array(CLASSES, GAPS), r"1 label\(s\) are NaN"),
    "a row": (YES_NO[None], r"1 labels for 40 inputs; use ravel\(\)"),
    "a number": (3, "of shape"),
    "too few": (YES_NO[:5], "5 labels for 40 inputs"),
    "two numbers": (X[:, :2], "make each column a task of its own"),
    "beyond float32": (X[:, 0].astype(float) * 1e200, "beyond float32; scale"),
    "times": (TIMES[:, 0], "Task 'y': labels: float32 keeps 7 digits"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_refused(case: str) -> None:
    given, message = LABELS[case]
    with pytest.raises(ValueError, match=message) as error:
        from_arrays({7: (X, {"y": given})})
    assert "\n" not in str(error.value)


SLIPS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a list of clients": ([(X, {"y": YES_NO})], {}, r"dict\(enumerate\(list\)\)"),
    "a task without a name": ({0: (X, {0: YES_NO})}, {}, "must be an identifier, got 0; use letters"),
    "a name with a space": ({0: (X, {"heart rate": YES_NO})}, {}, "must be an identifier, got 'heart rate'"),
    "labels without a task": ({0: (X, YES_NO)}, {}, "from_arrays takes"),
    "a client called True": ({True: (X, {"y": YES_NO})}, {}, "got True; number"),
    "a negative client": ({-1: (X, {"y": YES_NO})}, {}, "from 0, got -1"),
    "parts of other names": ({0: {"train": (X, {"y": YES_NO}), 1: (X, {"y": YES_NO})}}, {}, "use 'train' and 'test'"),
    "a task as text": ({0: (X, {"y": YES_NO})}, {"tasks": {"y": "Binary"}}, r"got 'Binary'; write 'y': Binary\(\)"),
    "a task as class": (
        {0: (X, {"y": CLASSES})},
        {"tasks": {"y": MultiClass}},
        r"write 'y': MultiClass\(num_classes\)",
    ),
    "a task as None": ({0: (X, {"y": YES_NO})}, {"tasks": {"y": None}}, "got None, which has no outputs"),
    "tasks as a list": ({0: (X, {"y": YES_NO})}, {"tasks": [Binary()]}, "got a list"),
    "missing as text": ({0: (X, {"y": YES_NO})}, {"missing": "NA"}, "missing is a number.*got 'NA'"),
    "missing as a list": ({0: (X, {"y": YES_NO})}, {"missing": [-1, 99]}, "missing is a number"),
    "missing as a bool": ({0: (X, {"y": YES_NO})}, {"missing": True}, "missing is a number"),
    "-1 and 1 beside 0": ({0: (X, {"y": np.arange(N) % 3 - 1})}, {"tasks": {"y": Binary()}}, "labels are 0 and 1"),
    "a class too many": ({0: (X, {"y": CLASSES})}, {"tasks": {"y": MultiClass(3)}}, "num_classes must be at least 4"),
    "one-hot of another size": ({0: (X, {"y": ONE_HOT})}, {"tasks": {"y": MultiClass(5)}}, "takes labels of shape"),
}


@pytest.mark.parametrize("case", SLIPS)
def test_slips(case: str) -> None:
    clients, options, message = SLIPS[case]
    with pytest.raises(ValueError, match=message) as error:
        from_arrays(clients, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X + 1j, "client 0, train: .*real and imaginary"),
        (X.astype(str), "client 0, train: .*not text"),
        (np.full((N, 3), 2**63, np.uint64), "client 0, train: inputs hold 9223372036854775808"),
        (np.tile(2.0**24 + np.arange(N)[:, None], 3), "distinct values in feature 0"),
    ],
)
def test_a_federation_of_ones_own_is_looked_at_as_well(x: Any, message: str) -> None:
    part = Split(x, {"y": YES_NO})
    with pytest.raises(ValueError, match=message):
        Federation({"y": Binary()}, (3,), {0: ClientData(part, part)})


def test_labels_of_a_federation() -> None:
    """Tensors with gradients are numbers, too; distinct ones may not merge."""
    y: Any = torch.tensor(X[:, 0], requires_grad=True)
    part = Split(X, {"y": y})
    federation = Federation({"y": Regression()}, (3,), {0: ClientData(part, part)})
    np.testing.assert_array_equal(federation.clients[0].train.y["y"], X[:, 0])
    late = Split(X, {"y": TIMES[:, 0]})
    with pytest.raises(ValueError, match="client 0, train, task 'y': Regression.* of 40 distinct labels merge"):
        Federation({"y": Regression()}, (3,), {0: ClientData(late, late)})


def test_a_client_without_examples() -> None:
    empty = (X[:0], {"y": YES_NO[:0]})
    with pytest.raises(ValueError, match="Client 3 has no example; leave the client out"):
        from_arrays({0: (X, {"y": YES_NO}), 3: empty})
    with pytest.raises(ValueError, match="Client 3, train has no example"):
        from_arrays({3: {"train": empty, "test": (X, {"y": YES_NO})}})
    assert from_arrays({3: {"train": (X, {"y": YES_NO}), "test": empty}}).load(0).tasks == {"y": Binary()}


def test_a_federation_has_inputs_of_one_type() -> None:
    whole, broken = Split(np.arange(3 * N).reshape(N, 3), {"y": YES_NO}), Split(X, {"y": YES_NO})
    federation = Federation({"y": Binary()}, (3,), {0: ClientData(whole, whole), 1: ClientData(broken, broken)})
    assert {part.x.dtype for data in federation.clients.values() for part in data} == {np.dtype(np.float32)}


class Named:
    """A table of named columns, as of polars."""

    def __init__(self, **columns: Any) -> None:
        self.of, self.columns = columns, list(columns)

    def __len__(self) -> int:
        return N

    def __getitem__(self, name: str) -> Any:
        return self.of[name]

    def to_numpy(self) -> np.ndarray:
        return np.stack(list(self.of.values()), 1)


def test_columns_mean_the_same_at_all_clients() -> None:
    one: Any = Named(age=X[:, 0], dose=X[:, 1])
    other: Any = Named(dose=X[:, 1], age=X[:, 0])
    with pytest.raises(ValueError, match=r"^Client 1, inputs: column 0 is 'dose', and that of Client 0 is 'age'; .*$"):
        from_arrays({0: (one, {"y": YES_NO}), 1: (other, {"y": YES_NO})})
    with pytest.raises(ValueError, match=r"^Client 1, task 'y': column 0 is 'dose', and that of Client 0 is 'age'"):
        labels: Any = [Named(age=YES_NO, dose=YES_NO), Named(dose=YES_NO, age=YES_NO)]
        from_arrays({k: (X, {"y": y}) for k, y in enumerate(labels)})
    from_arrays({0: (one, {"y": YES_NO}), 1: (other.to_numpy(), {"y": YES_NO}), 2: (one, {"y": YES_NO})})


def test_masked_labels_of_a_federation_are_not_known() -> None:
    part = Split(X, {"y": np.ma.masked_array(YES_NO, np.arange(N) < 3)})
    found = Federation({"y": Binary()}, (3,), {0: ClientData(part, part)}).clients[0].train.y["y"]
    assert np.isnan(found[:3]).all() and found[3:].tolist() == YES_NO[3:].tolist()


WHOLE = ClientData(Split(X, {"y": YES_NO}), Split(X, {"y": YES_NO}))


@pytest.mark.parametrize(
    ("shape", "clients", "message"),
    [
        (3, {0: WHOLE}, "input_shape is the shape of one example"),
        ((3,), [WHOLE], "got a list; for a list"),
        ((3,), {"a": WHOLE}, "Client ids are whole numbers from 0, got 'a'"),
        ((3,), {0.5: WHOLE}, "Client ids are whole numbers from 0, got 0.5"),
        ((3,), {0: (X, {"y": YES_NO})}, "Client 0 is a tuple, which must be ClientData"),
        ((3,), {0: ClientData(Split(X, {"y": None}), Split(X, {"y": None}))}, "has one label, None, for 40 inputs"),  # type: ignore[arg-type]
    ],
)
def test_the_form_of_a_federation(shape: Any, clients: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Federation({"y": Binary()}, shape, clients)


@pytest.mark.parametrize("made", [lambda: MultiClass("4"), lambda: MultiClass(4.0), lambda: MultiLabel("3")])  # type: ignore[arg-type]
def test_sizes_of_tasks_are_whole_numbers(made: Any) -> None:
    with pytest.raises(ValueError, match="got num_"):
        made()


def test_numbers_of_tasks_and_parts() -> None:
    with pytest.raises(ValueError, match="got mean='0'"):
        Regression("0", 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got test_fraction='0.2'"):
        from_arrays({0: (X, {"y": YES_NO})}, test_fraction="0.2")  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1e-42, 1e-60, 1e-300])
def test_numbers_that_are_too_small_for_float32_are_refused(scale: float) -> None:
    """1.2573e-43 became 1.26e-43, and smaller ones 0; small ones beside others are rounding."""
    rule = "float32 keeps less than 7 digits below 1.18e-38|float32 keeps 7 digits"
    with pytest.raises(ValueError, match=rule):
        loaded(X.astype(np.float64) * scale)
    with pytest.raises(ValueError, match=rule):
        task(X[:, 0].astype(np.float64) * scale, tasks={"y": Regression(0.0, 1.0)})
    beside = X.astype(np.float64)
    beside[0] = scale
    np.testing.assert_array_equal(loaded(beside), beside.astype(np.float32))
    assert not loaded(np.zeros((N, 2))).any()
