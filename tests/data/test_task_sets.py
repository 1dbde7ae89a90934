"""Tasks of one client that have examples of their own."""

from typing import Any

import numpy as np
import pytest

from fedmtl.data import from_arrays
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.tasks import Binary, MultiClass

DRAW = np.random.default_rng(0)
X, OTHER = DRAW.standard_normal((20, 3)).astype(np.float32), DRAW.standard_normal((10, 3)).astype(np.float32)
SICK, AGE = (X[:, 0] > 0).astype(int), 40 + 10 * OTHER[:, 1]


def test_sets_become_one_in_which_each_row_has_its_own_task() -> None:
    """Of 20 and 10 examples, a fifth of each is tested on: 4 and 2."""
    federation = from_arrays({"a": {"sick": (X, SICK), "age": (OTHER, AGE)}}).load(0)
    train, test = federation.clients[0]
    assert isinstance(federation.tasks["sick"], Binary) and len(train.x) == 24 and len(test.x) == 6
    for part, sick, age in ((train, 16, 8), (test, 4, 2)):
        known = {name: ~np.isnan(y) for name, y in part.y.items()}
        assert known["sick"].sum() == sick and known["age"].sum() == age
        assert not (known["sick"] & known["age"]).any()
        np.testing.assert_array_equal(part.y["sick"][known["sick"]], part.x[known["sick"], 0] > 0)
        np.testing.assert_allclose(part.y["age"][known["age"]], 40 + 10 * part.x[known["age"], 1], rtol=1e-6)


def test_sets_of_parts_and_sets_beside_one_set() -> None:
    """A client may have one set for all tasks where another has several; texts are classes in all of them."""
    words = np.where(SICK, "yes", "no")
    parts: Any = {
        "train": {"sick": (X, words), "age": (OTHER, AGE)},
        "test": (X[:2], {"sick": words[:2], "age": AGE[:2]}),
    }
    federation = from_arrays({0: parts, 1: (OTHER, {"age": AGE})}).load(0)
    assert federation.tasks["sick"] == MultiClass(2, ("no", "yes"))
    assert [len(part.x) for part in federation.clients[0]] == [30, 2]
    assert np.isnan(federation.clients[0].train.y["sick"]).sum() == 10
    assert federation.clients[1].tasks == ("age",)


def test_a_run_measures_each_task_on_its_own_examples() -> None:
    data = from_arrays({c: {"sick": (X, SICK), "age": (OTHER, AGE)} for c in range(2)})
    result = run(Experiment(data=data, model="Linear", algorithm="Local", rounds=2, runtime="InProcess"))
    found = {(row["client"], row["task"]): row["examples"] for row in result.rows if row["round"] == 2}
    assert found[0, "sick"] == found[1, "sick"] == 4 and found[0, "age"] == found[1, "age"] == 2


REFUSED: dict[str, tuple[Any, str]] = {
    "rows": ({"sick": (X, SICK), "age": (OTHER, AGE[:5])}, "examples of 'age': task 'age' has 5 labels for 10 inputs"),
    "no example": ({"sick": (X, SICK), "age": (OTHER[:0], AGE[:0])}, "examples of 'age' has no example"),
    "one task twice": (
        {"sick": (X, SICK), "age": (OTHER, {"age": AGE, "sick": SICK[:10]})},
        "task 'sick' is labelled on the input 'age', and on 'sick'",
    ),
    "parts of other names": (
        {"training": (X, {"sick": SICK}), "testing": (X, {"sick": SICK})},
        "task 'sick' is labelled on the input 'testing', and on 'training'.*'train' and 'test'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_sets_that_are_refused(case: str) -> None:
    given, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        from_arrays({7: given})
