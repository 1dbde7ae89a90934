"""A toy of every kind of component in a copy of the repository: one new file and one line each, and one golden check.

Presets, listings, ``from fedmtl import …``, ``fedmtl verify`` and the contract, leak, runtime and documentation tests
meet them without another edit, and fail for broken ones.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import forks

ROOT = Path(__file__).parent.parent

FILES = {
    "fedmtl/algorithms/toy_mean.py": '''"""ToyMean: FedPer under another name.

    Nobody. Toys. 2026.

Down: θ.  Up: θ_k.  Private: φ_k.
"""

from dataclasses import dataclass, replace

from fedmtl.algorithms.fedper import FedPer


@dataclass(frozen=True)
class ToyMean(FedPer):
    """A toy."""

    traits = replace(FedPer.traits, technique="toys")
''',
    "fedmtl/verify/toy_mean.py": '''"""ToyMean against FedPer's own first state."""

from typing import Any

import torch

from fedmtl.verify.check import CTX, CheckResult, close

GAIN = "a toy"


def the_server_begins_with_the_trunk(cls: Any) -> CheckResult:
    """The server keeps the one parameter of the trunk, 3, and not that of the head, 5: its sum is 3."""
    server = cls().init_server({"trunk.w": torch.tensor(3.0), "head.t.w": torch.tensor(5.0)}, CTX)
    return close(sum(float(value) for value in server.values()), 3.0, atol=0)


CHECKS = (the_server_begins_with_the_trunk,)
''',
    "fedmtl/codecs/toy_big.py": '''"""ToyBig: big-endian float32."""

from dataclasses import dataclass

import numpy as np

from fedmtl.codecs.base import check_vector
from fedmtl.codecs.checks import check_decoded, check_length
from fedmtl.codecs.traits import CodecTraits


@dataclass(frozen=True)
class ToyBig:
    """A toy."""

    traits = CodecTraits(unbiased=True, lossless=True, fixed_bytes=True)

    def init(self, size):
        return None

    def num_bytes(self, size):
        return 4 * size

    def encode(self, x, state, rng):
        check_vector(self, x)
        return x.astype(">f4").tobytes(), None

    def decode(self, data, size):
        check_length(self, len(data), size, 4 * size)
        x = np.frombuffer(data, ">f4").astype(np.float32)
        check_decoded(self, x)
        return x
''',
    "fedmtl/tasks/toy_yes.py": '''"""ToyYes: yes or no."""

from dataclasses import dataclass

from fedmtl.tasks.binary import Binary


@dataclass(frozen=True)
class ToyYes(Binary):
    """A toy."""
''',
    "fedmtl/models/toy_net.py": '''"""ToyNet: MLP under another name."""

from dataclasses import dataclass

from fedmtl.models.mlp import MLP


@dataclass(frozen=True)
class ToyNet(MLP):
    """A toy."""
''',
    "fedmtl/data/toy_data.py": '''"""ToyData: Synthetic under another name."""

from dataclasses import dataclass

from fedmtl.data.synthetic import Synthetic


@dataclass(frozen=True)
class ToyData(Synthetic):
    """A toy."""
''',
    "fedmtl/optimizers/toy_steps.py": '''"""ToySteps: Momentum under another name."""

from dataclasses import dataclass

from fedmtl.optimizers.momentum import Momentum


@dataclass(frozen=True)
class ToySteps(Momentum):
    """A toy."""
''',
    "fedmtl/weightings/toy_equal.py": '''"""ToyEqual: Equal under another name."""

from dataclasses import dataclass

from fedmtl.weightings.equal import Equal


@dataclass(frozen=True)
class ToyEqual(Equal):
    """A toy."""
''',
}
LINES = {
    "fedmtl/algorithms/__init__.py": "from fedmtl.algorithms.toy_mean import ToyMean as ToyMean\n",
    "fedmtl/codecs/__init__.py": "from fedmtl.codecs.toy_big import ToyBig as ToyBig\n",
    "fedmtl/tasks/__init__.py": "from fedmtl.tasks.toy_yes import ToyYes as ToyYes\n",
    "fedmtl/models/__init__.py": "from fedmtl.models.toy_net import ToyNet as ToyNet\n",
    "fedmtl/data/__init__.py": "from fedmtl.data.toy_data import ToyData as ToyData\n",
    "fedmtl/optimizers/__init__.py": "from fedmtl.optimizers.toy_steps import ToySteps as ToySteps\n",
    "fedmtl/weightings/__init__.py": "from fedmtl.weightings.toy_equal import ToyEqual as ToyEqual\n",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the toys."""
    root = tmp_path_factory.mktemp("toys")
    for name in ("fedmtl", "tests", "simulations"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, root / name)
    for name, text in FILES.items():
        (root / name).write_text(text)
    for name, line in LINES.items():
        with open(root / name, "a") as table:
            table.write(line)
    return root


def python(copy: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "100"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    program = f"import sys; sys.dont_write_bytecode = False  # in the copy: several programs import it\n{program}"
    return forks.run(code=program, cwd=copy, env=environment, timeout=300, bare=True)


def pytest_in(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ["-q", "-n0", "--no-header", "-p", "no:cacheprovider"]
    return python(copy, f"import pytest, sys; sys.exit(pytest.main({[*quiet, *arguments]!r}))")


def suites(copy: Path) -> tuple[int, int, str]:
    """Tests of toys that passed and failed, and the output."""
    chosen = ("ToyMean and (hold_the_names or nothing_private or one_broadcast or (leaks_nothing and Dense))",)
    chosen += ("ToyBig and (round_trip or bias or bytes or zeros)", "ToyYes and not mixture")
    files = ("tests/algorithms/test_contract.py", "tests/protocol/test_leak.py")
    files += ("tests/codecs/test_contract.py", "tests/tasks/test_contract.py")
    run = pytest_in(copy, "-rA", *files, "-k", " or ".join(f"({one})" for one in chosen))
    lines = re.findall(r"^(PASSED|FAILED) (.*Toy.*)$", run.stdout, re.MULTILINE)
    return sum(one == "PASSED" for one, _ in lines), sum(one == "FAILED" for one, _ in lines), run.stdout + run.stderr


def test_one_file_and_one_line_each(copy: Path) -> None:
    passed, failed, output = suites(copy)
    assert failed == 0 and passed >= 12, output[-3000:]
    for name in ("ToyMean", "ToyBig", "ToyYes"):
        assert re.search(rf"^PASSED .*{name}", output, re.MULTILINE), name


def test_the_other_contracts_meet_every_kind_of_component(copy: Path) -> None:
    """They are collected here, and run in the suite of whoever adds one: Ray and Flower take minutes. A model, a data
    set, an optimizer and a weighting have their defaults; a weighting is in an algorithm."""
    files = ("tests/protocol/test_leak.py", "tests/runtime/test_every_algorithm.py", "tests/server/test_pairs.py")
    kinds = {"ToyNet": "models", "ToyData": "data", "ToySteps": "optimizers", "ToyEqual": "algorithms"}
    contracts = [f"tests/{folder}/test_contract.py" for folder in kinds.values()]
    run = pytest_in(copy, "--collect-only", *files, *contracts, "-k", " or ".join(["ToyMean", *kinds]))
    output = run.stdout[-2000:] + run.stderr[-2000:]
    for file in files:
        assert re.search(rf"^{re.escape(file)}::.*ToyMean", run.stdout, re.MULTILINE), (file, output)
    for name, folder in kinds.items():
        found = re.findall(rf"^tests/{folder}/test_contract\.py::(\w+)\[.*{name}", run.stdout, re.MULTILINE)
        assert len(found) >= 3, (name, output)


def test_names_are_everywhere(copy: Path) -> None:
    program = (
        "import sys\n"
        "hidden = {name: sys.modules.pop(name) for name in [*sys.modules] if name.split('.')[0] == 'torch'}\n"
        "from fedmtl.registry.described import described\n"
        "print([each.name for kind in ('algorithm', 'codec', 'task') for each in described(kind)][-20:])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules.update(hidden)\n"
        "from fedmtl import Experiment, ToyBig, ToyMean, ToyYes\n"
        "found = Experiment(algorithm='ToyMean(epochs=1)', up_codec='ToyBig')\n"
        "assert found.algorithm == ToyMean(epochs=1) and found.up_codec == ToyBig()\n"
        "from fedmtl.verify.registry import names_of_all, verify\n"
        "assert 'ToyMean' in names_of_all()\n"
        "(line,) = verify(['ToyMean'])\n"
        "assert line.found.passed, line\n"
    )
    run = python(copy, program)
    assert run.returncode == 0, run.stderr
    assert all(name in run.stdout for name in ("ToyBig", "ToyYes"))


def test_the_table_of_methods_is_written_anew(copy: Path) -> None:
    program = (
        "import runpy\n"
        "from tests.methods_table import PAGE, written\n"
        "assert PAGE.read_text() != written()\n"
        "runpy.run_module('tests.methods_table', run_name='__main__')\n"
        "assert PAGE.read_text() == written()\n"
    )
    run = python(copy, program)
    assert run.returncode == 0, run.stderr
    assert "| `ToyMean` | – | trunk | trunk | heads | toys |" in (copy / "fedmtl/algorithms/README.md").read_text()


def test_broken_toys_fail(copy: Path, tmp_path: Path) -> None:
    """An algorithm that declares to send nothing, a codec that is not lossless, a task whose metric
    counts wrong answers, a golden check that is not there."""
    broken = tmp_path / "broken"
    shutil.copytree(copy, broken)
    for name, old, new in (
        ("fedmtl/algorithms/toy_mean.py", 'technique="toys"', "sends=Local.traits.sends"),
        (
            "fedmtl/algorithms/toy_mean.py",
            "import FedPer\n",
            "import FedPer\nfrom fedmtl.algorithms.local import Local\n",
        ),
        ("fedmtl/codecs/toy_big.py", ".astype(np.float32)\n", ".astype(np.float16).astype(np.float32)\n"),
        ("fedmtl/tasks/toy_yes.py", '"""A toy."""\n', '"""A toy."""\n\n    higher_is_better = False\n'),
    ):
        path = broken / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    (broken / "fedmtl/verify/toy_mean.py").unlink()
    _, failed, output = suites(broken)
    for name in ("ToyMean", "ToyBig", "ToyYes"):
        assert re.search(rf"^FAILED .*{name}", output, re.MULTILINE), output[-3000:]
    assert failed >= 3
    run = python(broken, "from fedmtl.verify.registry import verify; list(verify(['ToyMean']))")
    assert run.returncode == 1 and "fedmtl.verify.toy_mean" in run.stderr
