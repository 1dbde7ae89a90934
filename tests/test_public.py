"""``from fedmtl import …``: every component, and the door of Python."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fedmtl
import fedmtl.analysis.load
from fedmtl.analysis.runs import Run
from fedmtl.registry.components import find
from fedmtl.registry.names import PACKAGES, REGISTRY
from tests import forks

ROOT = Path(__file__).parent.parent

PRESET = """name = "small"
rounds = 1
runtime = "InProcess"
engine = "loop"
data = { name = "synthetic", clients = 3, examples = 6, test_examples = 4, features = 4, rank = 2, tasks = 1 }
model = { name = "MLP", hidden = [3] }
"""


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in REGISTRY for name in REGISTRY[kind]])
def test_every_registered_component_is_imported_from_fedmtl(kind: str, name: str) -> None:
    cls = find(kind, name)
    assert getattr(fedmtl, cls.__name__) is cls
    assert cls.__name__ in fedmtl.__all__ and cls.__name__ in dir(fedmtl)


def test_type_checkers_know_every_name() -> None:
    """The block that only they read gives all public names, no more, no fewer, from where they are defined; a star
    stands for the imports of a package, so that a component is registered by one line there."""
    tree = ast.parse((ROOT / "fedmtl" / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    nodes = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    stars = [str(node.module) for node in nodes if node.names[0].name == "*"]
    assert sorted(stars) == sorted(f"fedmtl.{package}" for package in PACKAGES.values())
    for star in stars:
        text = (ROOT / star.replace(".", "/") / "__init__.py").read_text()
        nodes += [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    listed = {alias.asname: (node.module, alias.name) for node in nodes for alias in node.names if alias.name != "*"}
    assert sorted(listed, key=str) == fedmtl.__all__
    for name, (module, attribute) in listed.items():
        assert getattr(importlib.import_module(str(module)), attribute) is getattr(fedmtl, str(name))


def test_a_star_imports_all() -> None:
    scope: dict[str, object] = {}
    exec("from fedmtl import *", scope)
    assert {"Ditto", "TopK", "run", "load_run"} <= scope.keys()


def test_a_slip_gets_a_hint() -> None:
    with pytest.raises(AttributeError, match=r"module 'fedmtl' has no attribute 'Dito'\. Did you mean Ditto\?"):
        fedmtl.Dito  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018
    with pytest.raises(ImportError):
        exec("from fedmtl import Dito")


def test_importing_names_without_torch_costs_nothing() -> None:
    """dir() and the list of names read a table; codecs come without torch."""
    program = "import sys, fedmtl; dir(fedmtl); fedmtl.__all__; print('torch' in sys.modules, 'numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "False"], run.stderr


@pytest.mark.parametrize(
    "first", ["", "import fedmtl.analysis.report.write", "import fedmtl.cli, fedmtl.analysis.report"]
)
def test_report_is_a_function_whatever_was_imported_before(tmp_path: Path, first: str) -> None:
    """The package ``fedmtl.analysis.report`` does not hide it. A run in this process imports neither the database nor
    the web framework of Flower's servers, which take a second."""
    (tmp_path / "small.toml").write_text(PRESET)
    program = f"""{first}
import fedmtl
from fedmtl import load_experiment, load_run, report, run
run(load_experiment("small.toml"), out="first")
import sys
assert not {{"sqlalchemy", "fastapi"}} & set(sys.modules)
found = load_run("first")
assert found.finished and found.seed == 0 and found.rounds == [0, 1], found
from tests.pictures import drawn_as, undrawn
with {"undrawn()" if first else "drawn_as('svg')"}:  # they are drawn once
    files = report("first")
assert files[-1].name == "report.md" and files[-1].parent.name == "first", files
with undrawn():
    files = fedmtl.report(["first"], out="other", target=0.1)
assert files[-1].parent.name == "other" and "to score 0.1" in files[-1].read_text()
"""
    environment = {
        "PYTHONPATH": f"{ROOT}",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "MPLCONFIGDIR": str(tmp_path),
    }
    done = forks.run(code=program, cwd=tmp_path, env=environment, bare=True)
    assert done.returncode == 0, done.stderr


def test_load_run_of_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a run"):
        fedmtl.load_run(tmp_path)
    with pytest.raises(ValueError, match="report needs a run folder or more, got none"):
        fedmtl.report([])
    assert fedmtl.Run is Run


EXAMPLES = sorted(path for path in (ROOT / "fedmtl").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_in_docstrings_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted and not found.failed


def test_no_module_takes_the_name_of_a_function_that_its_package_gives() -> None:
    """Once it is imported, ``package.name`` would be the module: so was ``fedmtl.export.load``, and failed only where
    ``load_result`` had been used before."""
    taken = []
    for init in sorted((ROOT / "fedmtl").rglob("__init__.py")):
        package = ".".join(init.parent.relative_to(ROOT).parts)
        given = {}
        for node in ast.parse(init.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                given |= {alias.asname or alias.name: node.module for alias in node.names}
        # What comes from the module of that name is set after it, and stays; what comes from the package is the module.
        taken += [
            f"{package}.{name}"
            for name, source in given.items()
            if (init.parent / f"{name}.py").exists() and source not in (package, f"{package}.{name}")
        ]
    assert taken == []
