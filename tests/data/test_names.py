"""Clients and classes with names: numbers inside, names in rows, exports and a run's readers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.analysis.export import export
from fedmtl.analysis.read import read_run
from fedmtl.data import from_arrays
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.result import Result
from fedmtl.tasks import Binary, MultiClass, MultiLabel

X = np.random.default_rng(0).standard_normal((12, 3))
Y = ["wolf", "ant", "cat"] * 4


def data(**changes: Any) -> Any:
    return from_arrays({"site-B": (X, {"pet": Y}), "site-A": (X[:6], {"pet": Y[:6]})}, **changes)


def test_clients_and_classes_are_numbered_in_alphabetical_order() -> None:
    federation = data().load(0)
    assert federation.schema.client_names == {0: "site-A", 1: "site-B"}
    assert federation.sizes.sum(1).tolist() == [6, 12]
    task: Any = federation.tasks["pet"]
    assert task == MultiClass(3, ("ant", "cat", "wolf")) and repr(task) == "MultiClass(num_classes=3)"
    both = federation.clients[1]
    labels = np.concatenate([both.train.y["pet"], both.test.y["pet"]])
    assert sorted(labels.tolist()) == [0] * 4 + [1] * 4 + [2] * 4


def test_given_names_say_the_order() -> None:
    federation = data(tasks={"pet": MultiClass(names=["wolf", "cat", "ant", "emu"])}).load(0)
    task: Any = federation.tasks["pet"]
    assert task.num_classes == 4 and task.names == ("wolf", "cat", "ant", "emu")
    client = federation.clients[0]
    assert set(np.concatenate([client.train.y["pet"], client.test.y["pet"]]).tolist()) == {0, 1, 2}


def test_a_task_without_names_gets_those_of_its_labels() -> None:
    """In alphabetical order, and its other fields stay."""
    task: Any = data(tasks={"pet": MultiClass(3, class_weights="balanced")}).load(0).tasks["pet"]
    assert task.names == ("ant", "cat", "wolf") and len(task.class_weights) == 3


def test_gaps_among_texts_are_as_among_numbers() -> None:
    gaps = [None, *Y[1:]]
    with pytest.raises(ValueError, match=r"1 label\(s\) are NaN, the first in row 0; pass missing="):
        from_arrays({0: (X, {"pet": gaps})})
    client = from_arrays({0: (X, {"pet": gaps})}, missing=float("nan")).load(0).clients[0]
    assert np.isnan(np.concatenate([client.train.y["pet"], client.test.y["pet"]])).sum() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: data(tasks={"pet": MultiClass(names=["ant", "cat"])}), "label 'wolf' is none of its classes ant, cat"),
        (lambda: data(tasks={"pet": Binary()}), "labels are texts, 'ant', 'cat', 'wolf', and Binary.* leave its kind"),
        (lambda: data(tasks={"pet": MultiClass(4)}), "and MultiClass.* takes numbers; .* such as y == 'wolf'"),
        (
            lambda: from_arrays({"a": (X, {"pet": Y}), 1: (X, {"pet": Y})}),  # pyright: ignore[reportArgumentType]
            "got 'a'; number or name the clients",
        ),
        (lambda: from_arrays({" ": (X, {"pet": Y})}), "a text that is not empty, got ' '"),
        (lambda: MultiClass(3, ["a", "b"]), "there are 3, and 2 names"),
        (lambda: MultiClass(2, ["a", "a"]), "no two names are alike"),
        (lambda: MultiLabel(2, "ab"), "names are a list of texts, got str"),
        (lambda: MultiLabel(2, ["a", ""]), "names are texts that are not empty"),
        (lambda: MultiClass(), "2 to 2\\*\\*24 classes, got num_classes=0"),
    ],
)
def test_names_that_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_hostile_names_are_cut_and_escaped() -> None:
    task = MultiClass(2, ["\x1b[31mred\n", "x" * 500])
    assert task.names[0] == "\\x1b[31mred\\n" and len(task.names[1]) == 60
    names = from_arrays({"\x07\u202eevil": (X, {"pet": Y})}).load(0).schema.client_names
    assert names == {0: "\\x07\\u202eevil"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names") / "run"


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return run(Experiment(data=data(), model="MLP(hidden=[3])", rounds=1, runtime="InProcess"), folder)


def test_names_are_in_rows_and_exports(result: Result, folder: Path) -> None:
    assert {row["client"]: row["client_name"] for row in result.rows} == {0: "site-A", 1: "site-B", None: None}
    assert {row["client_name"] for row in result.ledger} == {"site-A", "site-B"}
    assert {row["truth"] for row in result.confusion} <= {"ant", "cat", "wolf"}
    for what in ("rounds", "ledger", "measures", "confusion"):
        lines = [json.loads(line) for line in "".join(export(folder, what)).splitlines()]
        assert lines and {line["client_name"] for line in lines} <= {"site-A", "site-B", None}
        header = "".join(export(folder, what, "csv")).splitlines()[0]
        assert header.endswith(",client_name")
        assert (folder / f"{what}.jsonl").read_text() == "".join(export(folder, what))


def test_a_run_reads_names_and_matrices_back(result: Result, folder: Path) -> None:
    found = read_run(folder)
    assert found.class_names("pet") == ["ant", "cat", "wolf"]
    assert found.client_name(1) == "site-B" and found.client_name(7) == "7"
    whole = found.confusion("pet")[None]
    assert whole.names == ["ant", "cat", "wolf"]
    tested = sum(row["examples"] for row in result.measures if row["client"] is not None)
    assert sum(map(sum, whole.counts)) == tested
    parts = [found.confusion("pet", client)[None].counts for client in (0, 1)]
    assert (np.array(parts).sum(0) == whole.counts).all()
    right = sum(whole.counts[k][k] for k in range(3))
    assert right / tested == pytest.approx(found.value("pet"))
    recalls = [share for share in whole.recall if share is not None]
    assert np.mean(recalls) == pytest.approx(found.measure("pet", "balanced_accuracy"))
    assert result.summary["tasks"]["pet"]["measures"]["balanced_accuracy"] == found.measure("pet", "balanced_accuracy")
    with pytest.raises(ValueError, match=r"The metrics are loss, .*, got 'precision'"):
        found.measure("pet", "precision")
