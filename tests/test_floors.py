"""Imports go down, never up, sideways or in a circle; heavy packages have one home; `import fedmtl` is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = [
    ["core", "tasks"],
    ["registry"],
    ["codecs", "data", "models", "metrics", "optimizers", "weightings", "engines", "timing"],
    ["algorithms", "augmentations", "tables"],
    ["protocol", "callbacks", "verify"],
    ["client", "server"],
    ["runs"],
    ["runtime", "analysis", "bench"],
    ["export"],
    ["run_experiment", "onboarding"],
    ["studies"],
    ["cli"],
    ["__main__"],
]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}

HOMES = {
    "ray": "runtime/ray/",
    "flwr": "runtime/",
    "matplotlib": "analysis/report/",
    "tensorboard": "callbacks/",
    "mlflow": "callbacks/",
}
"""Package -> how the paths of the only files of fedmtl begin that may import it."""


class Import(NamedTuple):
    line: int
    module: str
    """Absolute, dotted. `from a import b` is a.b: b may be a module, and where it is not, the floor is the same."""


@cache
def imports(path: Path, root: Path) -> list[Import]:
    """Every import of a file, also inside functions, under TYPE_CHECKING, relative, or by import_module("name")."""
    return list(_imports(path, root))


def _imports(path: Path, root: Path) -> Iterator[Import]:
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*above, *([node.module] if node.module else [])]
            yield from (Import(node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and _last_name(node.func) in ("import_module", "__import__"):
            if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                yield Import(node.lineno, node.args[0].value)


def _last_name(function: ast.expr) -> str:
    """The name behind the last dot."""
    match function:
        case ast.Attribute():
            return function.attr
        case ast.Name():
            return function.id
        case _:
            return ""


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
            elif target != part and FLOOR[target] >= FLOOR[part]:
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
        ("codecs/a.py", "import fedmtl.protocol.pack", "codecs/a.py:1: codecs (floor 2) imports protocol (floor 4)"),
        ("codecs/a.py", "from fedmtl.algorithms import X", "codecs (floor 2) imports algorithms (floor 3)"),
        ("codecs/a.py", "from fedmtl.models import base", "codecs (floor 2) imports models (floor 2)"),
        ("codecs/a.py", "from fedmtl import cli", "codecs (floor 2) imports cli (floor 11)"),
        ("codecs/a.py", "from ..protocol import wire", "codecs (floor 2) imports protocol (floor 4)"),
        ("codecs/a.py", "from .. import protocol", "codecs (floor 2) imports protocol (floor 4)"),
        ("codecs/deep/a.py", "from ...protocol import wire", "codecs (floor 2) imports protocol (floor 4)"),
        ("codecs/__init__.py", "from ..protocol import wire", "codecs (floor 2) imports protocol (floor 4)"),
        ("core/random.py", "from ..models import base", "core (floor 0) imports models (floor 2)"),
        ("server/a.py", "from fedmtl.client import shard", "server (floor 5) imports client (floor 5)"),
        ("protocol/a.py", "def f():\n    from fedmtl.server import s", "a.py:2: protocol (floor 4) imports server"),
        ("tables/a.py", "if TYPE_CHECKING:\n    import fedmtl.runs.result", "tables (floor 3) imports runs (floor 6)"),
        ("runs/a.py", "importlib.import_module('fedmtl.analysis')", "runs (floor 6) imports analysis (floor 7)"),
        ("runs/a.py", "from fedmtl import FedAvg", "imports fedmtl.FedAvg; import from the module that defines"),
        ("runs/a.py", "import fedmtl", "imports fedmtl; import from the module that defines"),
        ("attic/a.py", "", "attic is on no floor"),
        ("attic.py", "", "attic is on no floor"),
        ("runtime/local.py", "import ray", "imports ray, which only runtime/ray/… may"),
        ("engines/a.py", "def f():\n    import ray.util", "a.py:2: imports ray, which only runtime/ray/… may"),
        ("engines/a.py", "from flwr.app import Message", "imports flwr, which only runtime/… may"),
        ("analysis/a.py", "import matplotlib.pyplot as plt", "imports matplotlib, which only analysis/report/… may"),
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
        (
            "protocol/a.py",
            "import numpy\nfrom fedmtl.codecs import Dense\nfrom ..core import random\nfrom . import b",
        ),
        ("runtime/a.py", "from fedmtl.engines.loop import Loop\nimport flwr, rayon, flwr_datasets"),
        ("runtime/ray/grid.py", "import ray\nimport flwr"),
        ("analysis/report/plots/lines.py", "def f():\n    import matplotlib.pyplot"),
        ("__main__.py", "from fedmtl.cli import main"),
    ],
)
def test_the_checker_lets_pass(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / "fedmtl" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path) == []


def circles(root: Path) -> list[list[str]]:
    """The circles of imports among the modules of root/fedmtl, also inside one folder."""
    names = {}
    for path in (root / "fedmtl").rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    below: dict[str, set[str]] = {}
    for name, path in names.items():
        if name != "fedmtl":
            for _, imported in imports(path, root):
                target = imported if imported in names else imported.rpartition(".")[0]
                if target in names and target not in (name, "fedmtl"):
                    below.setdefault(name, set()).add(target)
    try:
        list(TopologicalSorter(below).static_order())
    except CycleError as error:
        return [error.args[1]]
    return []


def test_no_file_is_long() -> None:
    """One idea a file: what needs more than 250 lines has two."""
    lengths = {str(path): len(path.read_text().splitlines()) for path in (ROOT / "fedmtl").rglob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > 250} == {}


def test_no_modules_import_each_other() -> None:
    assert circles(ROOT) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "fedmtl/engines/deep"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("from fedmtl.engines.deep.b import f")
    (folder / "b.py").write_text("def f():\n    from . import c")
    (folder / "c.py").write_text("import fedmtl.engines.deep.a")
    (circle,) = circles(tmp_path)
    assert {name.rpartition(".")[2] for name in circle} == {"a", "b", "c"}


def test_import_is_light() -> None:
    heavy = ["torch", "ray", "flwr", "matplotlib", "sklearn", "datasets", "flwr_datasets", "seglearn"]
    heavy += ["tensorboard", "mlflow"]
    program = f"import sys, fedmtl; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "[]"), run.stderr
