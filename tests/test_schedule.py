"""The distribution of tests over processes, and the choice of ``--fast``."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.schedule import CASES, FIRST, LEFT_OUT, PROCESSES, UNITS, fast, is_left_out, sort, unit

ROOT = Path(__file__).parent.parent


def items(*names: str, slow: str = "") -> list[Any]:
    return [
        SimpleNamespace(nodeid=name, get_closest_marker=lambda _, name=name: name == slow or None) for name in names
    ]


def test_files_are_those_that_there_are() -> None:
    """A file that was renamed would run in another place, and nothing else would tell."""
    assert [file for file in (*FIRST, *PROCESSES) if not (ROOT / file).is_file()] == []
    for left in LEFT_OUT:
        name, _, test = left.partition("::")
        assert (ROOT / name).exists() and (ROOT / name).is_dir() == name.endswith("/"), left
        assert not test or f"def {test}(" in (ROOT / name).read_text(), left


def test_files_that_share_a_process_are_one_unit() -> None:
    """All that start Flower, or fork a process without fedmtl, and those that are listed as starting Ray."""
    for name, files in UNITS.items():
        assert {unit(f"{file}::test_a[b]") for file in files} == {name}
    for name, words in {"flower": r"\bflwr_run\(", "bare": r"\bbare=True"}.items():
        found = {path for path in (ROOT / "tests").rglob("test_*.py") if re.search(words, path.read_text())}
        assert {path.relative_to(ROOT).as_posix() for path in found} == set(UNITS[name])
    assert unit("tests/test_trees.py::test_a[b::c]") == "tests/test_trees.py"


def test_long_files_come_first_and_the_others_stay() -> None:
    found = items("tests/b.py::x", "tests/a.py::y", f"{FIRST[1]}::x", f"{FIRST[0]}::x", f"{FIRST[0]}::a")
    sort(found)
    assert [item.nodeid for item in found] == [
        f"{FIRST[0]}::x", f"{FIRST[0]}::a", f"{FIRST[1]}::x", "tests/b.py::x", "tests/a.py::y",
    ]  # fmt: skip


def test_fast_leaves_out_folders_and_files() -> None:
    assert is_left_out("tests/cli") and is_left_out("tests/cli/test_width.py") and is_left_out("tests/runtime/ray")
    assert is_left_out("tests/test_cli.py") and not is_left_out("tests/test_cl.py") and not is_left_out("tests/client")
    assert not is_left_out("tests") and not is_left_out("tests/analysis") and is_left_out("tests/analysis/report")


def test_fast_keeps_cases_from_end_to_end_and_no_long_test() -> None:
    many = [f"tests/a.py::many[{k}]" for k in range(4 * CASES)]
    left_out = next(name for name in LEFT_OUT if "::" in name)
    found = items(*many, "tests/a.py::one", "tests/a.py::slow", f"{PROCESSES[0]}::x", left_out, slow="tests/a.py::slow")
    assert [item.nodeid for item in fast(found)] == [*many[::4], "tests/a.py::one"]
