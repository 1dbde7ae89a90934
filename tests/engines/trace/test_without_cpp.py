"""fedmtl without the folder ``engines/trace/cpp``: everything works, ``compile`` goes on without C++ and says so."""

import json
import os
import shutil
from pathlib import Path

import fedmtl
from tests import forks

TRAIN = """
import dataclasses, importlib.util, json
import torch
import fedmtl
from fedmtl.algorithms import FedPer
from fedmtl.data import Synthetic
from fedmtl.engines import vmap
from fedmtl.engines.trace import batched_function
from fedmtl.models import MLP
from fedmtl.runs.experiment import Experiment

assert importlib.util.find_spec("fedmtl.engines.trace.cpp") is None
batched_function.NATIVE_SHARE, vmap.COMPILE_AFTER_S = 0.0, 1000.0  # C++ at the first replay, torch's compiler never
data = Synthetic(clients=4, examples=6, test_examples=3, features=4, rank=2)
experiment = Experiment(data=data, model=MLP((3,)), algorithm=FedPer(epochs=1), rounds=6, runtime="InProcess")
runs = {"loop": "Loop", "vmap": "VMap", "compile": "VMap(compile=True)"}
found = {}
for name, engine in runs.items():
    result = fedmtl.run(dataclasses.replace(experiment, engine=engine))
    found[name] = {"score": result.summary["mean_score"], "digests": result.summary["digests"]}
print(json.dumps(found))
"""


def test_everything_but_cpp_works_without_its_folder(tmp_path: Path) -> None:
    """Loop and vmap agree to rounding; without C++, ``compile`` changes no bit of vmap's result."""
    package = Path(fedmtl.__file__).parent
    shutil.copytree(package, tmp_path / "fedmtl", ignore=shutil.ignore_patterns("cpp"))  # with bytecode
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = forks.run(code=TRAIN, cwd=tmp_path, env=environment, timeout=300, bare=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["compile"] == found["vmap"]
    assert abs(found["loop"]["score"] - found["vmap"]["score"]) < 1e-4
    notes = [line for line in done.stderr.splitlines() if "goes on without a C++ compiler" in line]
    assert notes and all("No module named 'fedmtl.engines.trace.cpp'" in note for note in notes)
    assert len(notes) == len(set(notes)) <= 2  # one for training, one for measurement
