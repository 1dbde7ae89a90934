"""Exported files: whole or absent, and nothing else is touched."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmtl.analysis.export import write_export


def test_nothing_beside_the_file_is_written_through(tmp_path: Path) -> None:
    """The temporary file's name was known before: a link of that name led the text into any file of the user's."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / f".rows.csv.{os.getpid()}").symlink_to(victim)
    write_export(iter(["a,b\n", "1,ä\n"]), out / "rows.csv")
    assert (out / "rows.csv").read_text(encoding="utf-8") == "a,b\n1,ä\n" and victim.read_text() == "precious"


def test_a_link_in_its_place_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "rows.csv").symlink_to(victim)
    write_export(iter(["a\n"]), tmp_path / "rows.csv")
    assert not (tmp_path / "rows.csv").is_symlink() and victim.read_text() == "precious"


def test_half_a_text_leaves_no_file(tmp_path: Path) -> None:
    def text() -> Iterator[str]:
        yield "a\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_export(text(), tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("folder", "Is a directory: .*folder'; give a file, and not a folder"),
        ("file/rows.csv", "Not a directory: .*; a part of the path is a file"),
        ("nowhere/rows.csv", "No such file or directory: .*nowhere/rows.csv'; .*make the folder that is missing"),
    ],
)
def test_errors_name_the_file_and_the_way_out(name: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=line):
        write_export(iter(["a\n"]), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
