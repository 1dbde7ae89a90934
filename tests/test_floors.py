"""Imports go down or sideways on one floor, never up; heavy packages have one home; `import fedmtl` is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = [
    [
        "types",
        "trees",
        "rng",
        "files",
        "run_lock",
        "lock_holder",
        "run_folder",
        "run_failure",
        "fingerprint",
        "imports",
        "stopping",
        "uploads",
        "bounds",
        "toml",
        "own_cache",
        "registry",
        "suggest",
        "diverged",
        "machine",
    ],
    ["models", "tasks", "metrics", "data", "codecs", "optim", "optimizers", "weightings"],
    ["algorithms"],
    ["comm"],
    ["federation", "callbacks"],
    # A node builds its fleet from the experiment, and the server writes its rows: the runtimes need both.
    [
        "engines",
        "runtime",
        "experiment",
        "components",
        "allowed",
        "declared",
        "described",
        "loading",
        "settings",
        "blame",
        "results",
        "recorder",
        "same_run",
    ],
    ["running", "comparing", "jobs", "study", "tuning", "size", "report", "bench", "verify", "cli", "__main__"],
]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}

HOMES = {
    "ray": "runtime/ray_",
    "flwr": "runtime/",
    "matplotlib": "report/",
    "tensorboard": "callbacks/",
    "mlflow": "callbacks/",
}
"""Package -> how the paths of the only files of fedmtl begin that may import it."""


class Import(NamedTuple):
    line: int
    module: str
    """Absolute, dotted. `from a import b` is a.b: b may be a module, and where it is not, the floor is the same."""


def imports(path: Path, root: Path) -> Iterator[Import]:
    """Every import of a file, also inside functions, under TYPE_CHECKING, relative, or by import_module("name")."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*above, *([node.module] if node.module else [])]
            yield from (Import(node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                yield Import(node.lineno, node.args[0].value)


def violations(root: Path) -> list[str]:
    """What breaks the rules in root/fedmtl, one line each."""
    found = []
    for path in sorted((root / "fedmtl").rglob("*.py")):
        inside = path.relative_to(root / "fedmtl")
        if inside == Path("__init__.py"):  # the public names, from any floor
            continue
        part = inside.with_suffix("").parts[0]
        if part not in FLOOR:
            found.append(f"{inside}: {part} is on no floor; give it one in tests/test_floors.py")
            continue
        for line, module in imports(path, root):
            package, *below = module.split(".")
            home = HOMES.get(package)
            if home and not inside.as_posix().startswith(home):
                found.append(f"{inside}:{line}: imports {package}, which only {home}… may")
            if package != "fedmtl":
                continue
            target = below[0] if below else ""
            if target not in FLOOR:
                found.append(f"{inside}:{line}: imports {module}; import from the module that defines the name")
            elif FLOOR[target] > FLOOR[part]:
                found.append(f"{inside}:{line}: {part} (floor {FLOOR[part]}) imports {target} (floor {FLOOR[target]})")
    return found


def test_imports_go_down() -> None:
    assert violations(ROOT) == []


def test_the_checker_reads_the_package() -> None:
    """So the test above does not pass for want of files."""
    read = {module for _, module in imports(ROOT / "fedmtl/codecs/topk.py", ROOT)}
    assert {"numpy", "fedmtl.codecs.base.check_vector"} <= read


@pytest.mark.parametrize(
    ("file", "source", "message"),
    [
        ("codecs/a.py", "import fedmtl.comm.wire", "codecs/a.py:1: codecs (floor 1) imports comm (floor 3)"),
        ("codecs/a.py", "from fedmtl.algorithms import X", "codecs (floor 1) imports algorithms (floor 2)"),
        ("codecs/a.py", "from fedmtl import cli", "codecs (floor 1) imports cli (floor 6)"),
        ("codecs/a.py", "from ..comm import wire", "codecs (floor 1) imports comm (floor 3)"),
        ("codecs/a.py", "from .. import comm", "codecs (floor 1) imports comm (floor 3)"),
        ("codecs/deep/a.py", "from ...comm import wire", "codecs (floor 1) imports comm (floor 3)"),
        ("codecs/__init__.py", "from ..comm import wire", "codecs (floor 1) imports comm (floor 3)"),
        ("rng.py", "from .models import base", "rng (floor 0) imports models (floor 1)"),
        ("comm/a.py", "def f():\n    from fedmtl.federation import s", "a.py:2: comm (floor 3) imports federation"),
        ("comm/a.py", "if TYPE_CHECKING:\n    import fedmtl.engines.loop", "comm (floor 3) imports engines (floor 5)"),
        ("comm/a.py", "importlib.import_module('fedmtl.study')", "comm (floor 3) imports study (floor 6)"),
        ("comm/a.py", "from fedmtl import FedAvg", "imports fedmtl.FedAvg; import from the module that defines"),
        ("comm/a.py", "import fedmtl", "imports fedmtl; import from the module that defines"),
        ("attic/a.py", "", "attic is on no floor"),
        ("attic.py", "", "attic is on no floor"),
        ("runtime/local_grid.py", "import ray", "imports ray, which only runtime/ray_… may"),
        ("engines/a.py", "def f():\n    import ray.util", "a.py:2: imports ray, which only runtime/ray_… may"),
        ("engines/a.py", "from flwr.app import Message", "imports flwr, which only runtime/… may"),
        ("study/a.py", "import matplotlib.pyplot as plt", "imports matplotlib, which only report/… may"),
    ],
)
def test_the_checker_finds(tmp_path: Path, file: str, source: str, message: str) -> None:
    path = tmp_path / "fedmtl" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    found = violations(tmp_path)
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("__init__.py", "from fedmtl.cli import main"),
        ("comm/a.py", "import numpy\nfrom fedmtl.codecs import Dense\nfrom ..rng import rng\nfrom . import ledger"),
        ("engines/a.py", "from fedmtl.runtime import strategy"),
        ("runtime/a.py", "from fedmtl.engines.loop import Loop\nimport flwr, rayon, flwr_datasets"),
        ("runtime/ray_grid.py", "import ray\nimport flwr"),
        ("report/plots/lines.py", "def f():\n    import matplotlib.pyplot"),
        ("__main__.py", "from fedmtl.cli import main"),
    ],
)
def test_the_checker_lets_pass(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / "fedmtl" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path) == []


def test_import_is_light() -> None:
    heavy = ["torch", "ray", "flwr", "matplotlib", "sklearn", "datasets", "flwr_datasets", "seglearn"]
    heavy += ["tensorboard", "mlflow"]
    program = f"import sys, fedmtl; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "[]"), run.stderr
