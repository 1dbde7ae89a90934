"""Labels of named tasks pass through from_arrays to a run: maps, sequences, levels, several numbers."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmtl.data import from_arrays
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.tasks import DenseClasses, DenseRegression, Huber, MultiRegression, Ordinal, Quantile, SequenceLabels, Task

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((3, 20, 5)).astype(np.float32)
TASKS: dict[str, Task] = {
    "stage": Ordinal(4, class_weights="balanced"),
    "sizes": MultiRegression(2, standardise=True),
    "price": Huber(standardise=True),
    "range": Quantile(standardise=True),
    "mask": DenseClasses(3, (2, 2), void=255, class_weights="balanced"),
    "depth": DenseRegression((2, 2), standardise=True),
    "tags": SequenceLabels(3, 4, padding=-100),
}


def labels(x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    signal = x[:, 0]
    mask = np.digitize(x[:, 1:5].reshape(-1, 2, 2), [-0.5, 0.5]).astype(np.uint8)
    mask[0, 0, 0] = 255
    tags = np.digitize(x[:, :4], [-0.5, 0.5])
    tags[1, 2:] = -100
    return {
        "stage": np.digitize(signal, [-1, 0, 1]),
        "sizes": np.stack([100 + 5 * signal, 3 * x[:, 1]], 1),
        "price": 50 + 20 * signal,
        "range": 50 + 20 * signal,
        "mask": mask,
        "depth": 7 + x[:, 1:5].reshape(-1, 2, 2),
        "tags": tags,
    }


@pytest.mark.parametrize("engine", ["Loop", "VMap"])
def test_each_kind_trains_and_is_measured(engine: str) -> None:
    """The labels are functions of the input, so some rounds beat the best constant, whose score is the floor."""
    data = from_arrays({client: (x, labels(x)) for client, x in enumerate(X)}, tasks=TASKS)
    federation = data.load(0)
    assert not any(getattr(task, "standardise", False) for task in federation.tasks.values())
    assert federation.tasks["stage"] != TASKS["stage"] and federation.tasks["mask"] != TASKS["mask"]
    experiment = Experiment(
        data=data, model="Linear", algorithm="FedAvg(lr=0.5, epochs=10)", rounds=6, engine=engine, runtime="InProcess"
    )
    result = run(experiment)
    for name in TASKS:
        assert result.summary["tasks"][name]["score"] > result.summary["floors"][name]["score"] + 0.02, name
    rows = {row["task"]: row for row in result.measures if row["client"] is None}
    assert {"quadratic_kappa", "accuracy", "macro_f1"} <= {k for k, v in rows["stage"].items() if v is not None}
    assert 0 < rows["mask"]["miou"] <= 1 and 0 <= rows["range"]["coverage"] <= 1
    assert rows["sizes"]["r2"] > 0 and rows["depth"]["mae"] > 0 and rows["tags"]["macro_f1"] > 0
    assert {row["task"] for row in result.confusion} == {"stage", "mask", "tags"}


def test_levels_may_be_texts() -> None:
    """In the order of the task's names."""
    task = Ordinal(names=("low", "mid", "high"))
    data = from_arrays({0: (X[0], {"grade": np.array(["high", "low", "mid", "low"] * 5)})}, tasks={"grade": task})
    train = data.load(0).clients[0].train.y["grade"]
    assert set(train.tolist()) == {0.0, 1.0, 2.0} and data.load(0).clients[0].test.y["grade"].dtype == np.float32


def test_levels_without_an_order() -> None:
    texts = np.array(["high", "low", "mid", "low"] * 5)
    with pytest.raises(ValueError, match=r"'high', 'low', 'mid', whose order is not known; give it, .*names="):
        from_arrays({0: (X[0], {"grade": texts})}, tasks={"grade": Ordinal(3)})


QUESTIONS: dict[str, tuple[NDArray[Any], str]] = {
    "columns": (X[0][:, :3], r"tasks=\{'y': MultiRegression\(3, standardise=True\)\} if they are numbers to predict"),
    "steps": (
        np.arange(60).reshape(20, 3) % 4,
        r"or tasks=\{'y': SequenceLabels\(4, 3\)\} if they are classes of steps",
    ),
    "maps": (np.arange(80).reshape(20, 2, 2) % 3, r"tasks=\{'y': DenseClasses\(3, \(2, 2\)\)\} if they are classes"),
    "map of 0 and 1": (np.arange(80).reshape(20, 2, 2) % 2, r"DenseClasses\(2, \(2, 2\)\)"),
    "numbers on a map": (
        X[0][:, :4].reshape(-1, 2, 2),
        r"tasks=\{'y': DenseRegression\(\(2, 2\), standardise=True\)\}",
    ),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_unnamed_labels_of_a_shape_ask_for_the_kind(case: str) -> None:
    """And the line of the message is the one that works."""
    y, message = QUESTIONS[case]
    with pytest.raises(ValueError, match=message) as error:
        from_arrays({0: (X[0], {"y": y})})
    assert "\n" not in str(error.value)


def test_a_label_that_a_client_cannot_have_names_it() -> None:
    y = np.full((20, 2, 2), 9)
    with pytest.raises(ValueError, match=r"client 7, train, task 'mask': .*got label 9 in row 0, at \[0, 0\]"):
        from_arrays({7: (X[0], {"mask": y})}, tasks={"mask": DenseClasses(3, (2, 2))})
