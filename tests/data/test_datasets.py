"""Data sets of torch and of Hugging Face as federations: equal to arrays of the same columns; what is wrong is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from fedmtl.data import Federation, from_datasets
from fedmtl.data.disk import DiskArray
from fedmtl.data.partitions import Dirichlet, NaturalIds, TaskAssignment
from fedmtl.run_experiment import run
from fedmtl.runs.same_run import examples_digest
from fedmtl.tasks import MultiClass
from tests.toys import experiment

ROWS = 300  # more than are read at once
X = np.random.default_rng(0).standard_normal((ROWS, 2, 3)).astype(np.float32)
KIND = np.arange(ROWS) % 3
WORTH = X[:, 0, 0].astype(np.float64)
SITE = [f"site-{row % 4}" for row in range(ROWS)]


class Pairs(Dataset):
    """Rows as tuples, as torchvision's are."""

    classes = ("cat", "dog", "owl")

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> Any:
        return torch.from_numpy(X[row]), int(KIND[row])


class Mappings(Pairs):
    def __getitem__(self, row: int) -> Any:
        return {"image": X[row], "kind": KIND[row], "worth": None if row % 5 else WORTH[row], "site": SITE[row]}


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(())


def hugging_face(**changes: Any) -> Any:
    import datasets

    names = datasets.ClassLabel(names=["cat", "dog", "owl"])
    columns = {"image": X.tolist(), "kind": KIND.tolist(), "site": SITE, "a": WORTH.tolist(), "b": KIND.tolist()}
    found = datasets.Dataset.from_dict({**columns, **changes})
    return found.cast_column("kind", names)


def every(federation: Federation, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of all rows, in the order of the first number of each."""
    splits = [split for data in federation.clients.values() for split in data if task in split.y]
    x, y = (
        np.concatenate([np.asarray(split.x) for split in splits]),
        np.concatenate([split.y[task] for split in splits]),
    )
    order = np.argsort(x.reshape(len(x), -1)[:, 0])
    return x[order], y[order]


def test_tuples_have_each_row_once_and_the_names_of_classes() -> None:
    found = from_datasets(Pairs(), ["kind"], partition="Dirichlet(0.5)", clients=5)
    federation, other = found.load(0), found.load(1)
    assert federation.tasks == {"kind": MultiClass(3, ("cat", "dog", "owl"))} and len(federation.clients) == 5
    x, y = every(federation, "kind")
    order = np.argsort(X[:, 0, 0])
    assert np.array_equal(x, X[order]) and np.array_equal(y, KIND[order])
    assert examples_digest(federation.clients) == examples_digest(found.load(0).clients)
    assert examples_digest(federation.clients) != examples_digest(other.clients)


def test_mappings_with_natural_clients_and_missing_labels() -> None:
    """A fifth of the rows are labelled for "worth", each row for "kind"; sites keep their names."""
    found = from_datasets(Mappings(), ["kind", "worth"], "image", client="site").load(0)
    assert found.client_names == {k: f"site-{k}" for k in range(4)}
    y = np.concatenate([split.y["worth"] for data in found.clients.values() for split in data])
    assert int((~np.isnan(y)).sum()) == ROWS // 5 and len(y) == ROWS


def test_hugging_face_from_its_folder_and_from_a_store(tmp_path: Path) -> None:
    """A run on inputs in memory and on those that are written and read has the same bits."""
    pytest.importorskip("datasets")
    hugging_face().save_to_disk(str(tmp_path / "set"))
    results = []
    for store in (None, tmp_path / "store"):
        found = from_datasets(tmp_path / "set", "kind", "image", partition=TaskAssignment(1), clients=3, store=store)
        assert found.load(0).tasks == {"kind": MultiClass(3, ("cat", "dog", "owl"))}
        assert isinstance(found.load(0).clients[0].train.x, DiskArray) == (store is not None)
        results.append(run(experiment(data=found, rounds=1)).summary["digests"])
    assert results[0] == results[1]
    with pytest.raises(ValueError, match=r"inputs.npy exists, .* give another folder"):
        from_datasets(tmp_path / "set", "kind", "image", clients=3, store=tmp_path / "store")


def test_several_columns_of_numbers_and_partitioners_of_flower() -> None:
    pytest.importorskip("flwr_datasets")
    from flwr_datasets.partitioner import NaturalIdPartitioner, PathologicalPartitioner

    data = hugging_face()
    found = from_datasets(
        data, "kind", ["a", "b"], partition=PathologicalPartitioner(4, "kind", 2, "deterministic"), by="kind"
    ).load(0)
    assert found.input_shape == (2,) and len(found.clients) == 4
    for client, each in found.clients.items():
        assert set(np.concatenate([split.y["kind"] for split in each])) == {client % 3, (client + 1) % 3}
    natural = from_datasets(data, "kind", ["a"], partition=NaturalIdPartitioner("site"), client="site").load(0)
    ours = from_datasets(data, "kind", ["a"], client="site").load(0)
    assert natural.client_names == ours.client_names
    assert examples_digest(natural.clients) == examples_digest(ours.clients)
    with pytest.raises(ValueError, match="cannot deal 300 examples"):
        from_datasets(data, "kind", ["a"], partition=PathologicalPartitioner(4, "age", 2))


def test_a_shift_changes_inputs() -> None:
    plain, bright = (
        from_datasets(Pairs(), "kind", partition=rule, clients=2).load(0)
        for rule in ("IID()", "FeatureShift('brightness', 0.5)")
    )
    ratios = {round(float(bright.clients[k].train.x.sum() / plain.clients[k].train.x.sum()), 4) for k in (0, 1)}
    assert ratios == {0.5, 1.5}


class Unlike(Pairs):
    """Rows of which the last is other than those before."""

    def __init__(self, last: Any) -> None:
        self.last = last

    def __getitem__(self, row: int) -> Any:
        return (self.last if row == ROWS - 1 else X[row]), int(KIND[row])


LABELS = [None if site == "site-2" else int(kind) for site, kind in zip(SITE, KIND, strict=True)]


class Gaps(Pairs):
    def __getitem__(self, row: int) -> Any:
        return {"x": X[row], "kind": LABELS[row], "site": SITE[row] if row else None, "own": SITE[row]}


@pytest.mark.parametrize(
    ("dataset", "arguments", "message"),
    [
        (Endless(), {}, "got a Endless, a stream that has none; write its rows"),
        (iter([1]), {}, "a stream that has none"),
        ([], {}, "this list has no row"),
        ([3, 4], {}, "a row is a mapping of columns or a tuple, got 3"),
        (Pairs(), {"tasks": []}, "needs a task"),
        (Pairs(), {"tasks": ["kind", "age"]}, "rows are tuples of 2, and the names are x, kind, age; name each"),
        (Mappings(), {"tasks": ["kinds"], "inputs": "image"}, "no column 'kinds'; .*Did you mean kind"),
        (Mappings(), {"inputs": "images"}, "no column 'images'.*Did you mean image"),
        (Mappings(), {"inputs": "image", "client": "sites"}, "no column 'sites'"),
        (Mappings(), {"inputs": "kind"}, "'kind' is an input and a task"),
        (Mappings(), {"inputs": "site"}, "inputs are texts; take from_frame"),
        (Mappings(), {"inputs": ["image", "worth"]}, "one number a row each|such as"),
        (Unlike(X[0, :1]), {}, r"inputs from row 256 on are of shapes \(1, 3\), \(2, 3\); give numbers of one shape"),
        (Pairs(), {"clients": 0}, "got clients=0"),
        (Pairs(), {"partition": "Pathological(4)"}, "1 to 3 of the 3 classes, got classes=4"),
        (Pairs(), {"partition": "NaturalIds()"}, "goes by a column of clients"),
        (Gaps(), {"client": "own", "clients": 0}, r"Client site-2 has 75 example\(s\) and no label of kind"),
        (Gaps(), {"client": "site", "clients": 0}, r"1 row\(s\) have no client in the column 'site'"),
    ],
)
def test_what_is_refused(dataset: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_datasets(dataset, **{"tasks": ["kind"], "clients": 3, **arguments})


def test_nothing_is_left_of_a_store_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of shapes"):
        from_datasets(Unlike(X[0, :1]), "kind", clients=3, store=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folders_without_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        from_datasets(tmp_path / "absent", "kind")
    with pytest.raises(ValueError, match="holds no data set of Hugging Face"):
        from_datasets(tmp_path, "kind")
    import datasets

    datasets.DatasetDict({"train": hugging_face()}).save_to_disk(str(tmp_path / "parts"))
    with pytest.raises(ValueError, match="got parts, train; give one"):
        from_datasets(tmp_path / "parts", "kind")


def test_objects_name_partitions_too() -> None:
    for rule in (Dirichlet(0.5), NaturalIds()):
        found = from_datasets(Mappings(), "kind", "image", partition=rule, clients=4, client="site")
        assert found.partition is rule and len(found.load(0).clients) == 4
