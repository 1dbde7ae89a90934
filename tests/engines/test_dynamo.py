"""torch's compiler is imported for compilation only."""

import os
from pathlib import Path

import pytest

from tests import forks

ROOT = Path(__file__).parent.parent.parent

TRAIN = """
import sys, torch
from fedmtl.algorithms import FedPer
from fedmtl.data import Synthetic
from fedmtl.runs.experiment import Experiment
from fedmtl.models import MLP
from fedmtl.run_experiment import run

data = Synthetic(clients=4, examples=6, test_examples=3, features=4, rank=2)
algorithm = FedPer(epochs=1)
run(Experiment(data=data, model=MLP((3,)), algorithm=algorithm, rounds=2, runtime="InProcess", engine={engine!r}))
assert "torch._dynamo" not in sys.modules, "training has imported torch's compiler"
"""

ASK = """
import importlib, sys, torch
import fedmtl.engines.vmap
assert "torch._dynamo" not in sys.modules
assert torch._dynamo.config.cache_size_limit >= 1  # the real module
assert torch._dynamo is sys.modules["torch._dynamo"] and torch._dynamo.__file__
with torch._dynamo.compiled_autograd._disable():
    pass
print(torch.compile(lambda x: 2 * x, backend="eager")(torch.ones(3)).tolist())
real = torch._dynamo
importlib.reload(fedmtl.engines.vmap)  # as if it were imported now
assert torch._dynamo is real is sys.modules["torch._dynamo"]
"""


def play(program: str) -> str:
    done = forks.run(code=program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_training_does_not_import_it(engine: str) -> None:
    play(TRAIN.format(engine=engine))


def test_it_is_imported_when_it_is_used_and_an_imported_one_stays() -> None:
    assert play(ASK) == "[2.0, 2.0, 2.0]"
