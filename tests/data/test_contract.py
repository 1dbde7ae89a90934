"""What is asked of every data set: the same bits for the same seed, everywhere; parts to learn from and to test on."""

import atexit
import hashlib
import inspect
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fedmtl.data import (
    HAR,
    BeijingAir,
    Dataset,
    Digits,
    Federation,
    Omniglot,
    ProductReviews,
    Synthetic,
    TableFile,
    Watch,
    from_arrays,
    from_frame,
)
from fedmtl.registry.components import REGISTRY, find, make
from tests.data.homes import needs
from tests.data.test_frame import table


def arrays() -> Dataset:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((3, 20, 5))
    return from_arrays({c: (x[c], {"up": x[c, :, 0] > 0, "sum": x[c].sum(1)}) for c in range(3)})


def table_file() -> Dataset:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    table().to_csv(f"{folder}/sites.csv", index=False)
    return TableFile(f"{folder}/sites.csv", "site", ("churn", "ltv"))


SETTINGS = [
    pytest.param(Digits(), id="digits"),
    pytest.param(Digits(clients=7, alpha=float("inf"), tasks_per_client=3), id="digits-iid"),
    pytest.param(Watch(), id="watch", marks=needs(Watch.source)),
    pytest.param(Synthetic(clients=12), id="synthetic"),
    pytest.param(Synthetic(clients=12, kind="mixed", ragged=True, tasks_per_client=2), id="synthetic-mixed"),
    pytest.param(arrays(), id="arrays"),
    pytest.param(from_frame(table(), "site", ["churn", "ltv"]), id="frame"),
    pytest.param(table_file(), id="file"),
    *(
        pytest.param(each, id=name, marks=needs(each.source))
        for name, each in {
            "productreviews-sites": ProductReviews(clients=5),
            "har-summaries": HAR(summaries=True),
            "beijingair-tomorrow": BeijingAir(ahead=24, step=11),
            "omniglot-groups": Omniglot(drawers=4),
        }.items()
    ),
]
NAMED = {"Digits", "Watch", "Synthetic", "TableFile"}
OTHERS = [find("data", name) for name in REGISTRY["data"] if find("data", name).__name__ not in NAMED]
ALL_DATASETS = [
    *SETTINGS,
    *(pytest.param(make("data", each.__name__), id=each.__name__, marks=needs(each.source)) for each in OTHERS),
]
"""Every registered data set, where the data home has it."""


def digest(federation: Federation) -> str:
    """A hash of everything that the federation holds."""
    total = hashlib.sha256(repr((dict(federation.tasks), federation.input_shape)).encode())
    for client, data in federation.clients.items():
        for split in data:
            total.update(repr((client, split.x.shape)).encode() + split.x.tobytes())
            for name, y in sorted(split.y.items()):
                total.update(name.encode() + y.tobytes())
    return total.hexdigest()


@pytest.fixture(params=ALL_DATASETS, scope="module")
def loaded(request: pytest.FixtureRequest) -> tuple[Dataset, Federation]:
    """A data set, and what it loaded for seed 0 when it was new."""
    return request.param, request.param.load(0)


def test_the_seed_decides_and_nothing_else(loaded: tuple[Dataset, Federation]) -> None:
    """Not what was loaded before, nor by which object; and it leaves the global generators as they were.

    A copy loads seed 1 and then 0, so that what it kept from the one would show in the other.
    """
    dataset, federation = loaded
    first = digest(federation)
    copy = pickle.loads(pickle.dumps(dataset))
    np.random.seed(3)
    torch.manual_seed(3)
    other, again = digest(copy.load(1)), digest(copy.load(0))
    after = np.random.random(), torch.rand(()).item()
    np.random.seed(3)
    torch.manual_seed(3)
    assert (np.random.random(), torch.rand(()).item()) == after
    assert again == first and other != first


def test_every_client_can_learn_and_be_tested(loaded: tuple[Dataset, Federation]) -> None:
    _, federation = loaded
    for data in federation.clients.values():
        for split in data:
            assert len(split.x) > 0 and split.x.shape[1:] == federation.input_shape
            assert split.x.dtype in (np.float32, np.int64) and split.x.flags.c_contiguous
            assert {y.dtype for y in split.y.values()} == {np.dtype(np.float32)}
        assert data.tasks and not np.shares_memory(data.train.x, data.test.x)


def test_every_task_has_an_owner(loaded: tuple[Dataset, Federation]) -> None:
    _, federation = loaded
    assert {name for data in federation.clients.values() for name in data.tasks} == set(federation.tasks)


def test_another_process_makes_the_same_bits(tmp_path: Path) -> None:
    """Another order of hashes included, and partitions that it draws itself. Importing the data sets imports none of
    their heavy packages, and a partition by flwr-datasets none of what that draws with, which it still can."""
    program = """
import hashlib, sys
from fedmtl.data import Digits, Federation, Synthetic
heavy = {"sklearn", "datasets", "flwr_datasets", "seglearn", "pandas", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
DIGEST
print(digest(Digits().load(5)), digest(Synthetic(clients=5, kind="mixed").load(5)))
import flwr_datasets
pictures = {"seaborn", "matplotlib", "scipy.stats"} & set(sys.modules)
assert not pictures, pictures
from flwr_datasets.visualization import plot_label_distributions
assert flwr_datasets.visualization.plot_label_distributions is plot_label_distributions and "seaborn" in sys.modules
"""
    program = program.replace("DIGEST", inspect.getsource(digest))
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "7",
        "FEDMTL_CACHE": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [digest(Digits().load(5)), digest(Synthetic(clients=5, kind="mixed").load(5))]
