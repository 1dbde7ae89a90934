"""One name means one thing: no two public classes, or type aliases of different meaning, have the same name."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def meanings(source: str, file: str) -> Iterator[tuple[str, str]]:
    """Pairs (name, meaning) of a file: a class means itself, an alias the type that it stands for."""
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield name, file
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if name[0].isupper() and any(letter.islower() for letter in name):
                yield name, ast.unparse(value)
            case _:
                pass


def with_several(files: dict[str, str]) -> dict[str, set[str]]:
    """Names that mean two things or more, of path -> source."""
    found: dict[str, set[str]] = defaultdict(set)
    for file, source in files.items():
        for name, meaning in meanings(source, file):
            found[name].add(meaning)
    return {name: several for name, several in found.items() if len(several) > 1}


OPEN: set[str] = set()
"""Names of algorithms that still mean two things."""


def test_one_name_means_one_thing() -> None:
    files = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "fedmtl").rglob("*.py")}
    assert len(files) > 300 and with_several(files).keys() == OPEN


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("class A: ...", "class A: ...", True),
        ("class A: ...", "Alias = int\nA1 = 2\nclass Other: ...", False),
        ("Rows = list[int]", "class Rows: ...", True),
        ("Array = list[float]", "Array = list[float]", False),
        ("Array = list[float]", "Array = list[int]", True),
        ("class _A: ...", "class _A: ...", False),
        ("SIZE = 1", "SIZE = 2", False),
    ],
)
def test_it_is_found(one: str, other: str, found: bool) -> None:
    assert bool(with_several({"one.py": one, "other.py": other})) is found
