"""Files inside a folder: no link is followed, by any operation, and no file with a second name is written."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmtl.core.file_errors import LinkError, named_errors
from fedmtl.core.files import Folder, temporary_of, write_atomic

PRECIOUS = b"precious\n" * 100


OPERATIONS: dict[str, Callable[[Folder, str], Any]] = {
    "read": Folder.read,
    "append": lambda folder, name: folder.append(name, b"x"),
    "truncate": lambda folder, name: folder.truncate(name, 3),
    "length": Folder.length,
    "exists": Folder.exists,
    "open to empty": lambda folder, name: os.close(folder.open(name, os.O_WRONLY | os.O_TRUNC)),
    "open to write": lambda folder, name: os.close(folder.open(name, os.O_RDWR | os.O_CREAT)),
}
WRITING = ("append", "truncate", "open to empty", "open to write")


@pytest.fixture
def inside(tmp_path: Path) -> Folder:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "thesis.tex").write_bytes(PRECIOUS)
    (tmp_path / "inside").mkdir()
    return Folder(tmp_path / "inside")


def intact(inside: Folder) -> bool:
    outside = inside.root.parent / "outside"
    return [path.name for path in outside.iterdir()] == ["thesis.tex"] and (
        outside / "thesis.tex"
    ).read_bytes() == PRECIOUS


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_link_is_refused_and_what_it_leads_to_stays(operation: str, inside: Folder) -> None:
    inside.path("rows").symlink_to(inside.root.parent / "outside" / "thesis.tex")
    with pytest.raises(LinkError, match="'rows' is a link; links inside this folder are not followed"):
        OPERATIONS[operation](inside, "rows")
    assert intact(inside)


@pytest.mark.parametrize("operation", [*OPERATIONS, "write", "make", "names", "remove"])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_folder_that_is_a_link_is_refused(operation: str, depth: int, inside: Folder) -> None:
    (inside.root / "a").mkdir()
    name = "/".join(["a", "linked"][-depth:])
    inside.path(name).symlink_to(inside.root.parent / "outside", target_is_directory=True)
    more: dict[str, Callable[[Folder, str], Any]] = {
        "write": lambda folder, path: folder.write(path, b"x"),
        "make": lambda folder, path: folder.make(f"{path}/deeper"),
        "names": lambda folder, path: folder.names(path.rpartition("/")[0]),
        "remove": Folder.remove,
    }
    with pytest.raises(LinkError):
        (OPERATIONS | more)[operation](inside, f"{name}/thesis.tex")
    assert intact(inside)


def test_a_link_to_nothing_makes_no_file(inside: Folder) -> None:
    inside.path("rows").symlink_to(inside.root.parent / "outside" / "new")
    with pytest.raises(LinkError):
        inside.append("rows", b"x")
    assert intact(inside)


def test_writing_replaces_a_link_and_not_what_it_leads_to(inside: Folder) -> None:
    inside.path("rows").symlink_to(inside.root.parent / "outside" / "thesis.tex")
    inside.write("rows", b"mine")
    assert not inside.path("rows").is_symlink() and inside.read("rows") == b"mine" and intact(inside)


def test_removing_a_link_leaves_what_it_leads_to(inside: Folder) -> None:
    inside.path("rows").symlink_to(inside.root.parent / "outside" / "thesis.tex")
    inside.remove("rows")
    inside.remove("rows")
    assert inside.names() == [] and intact(inside)


@pytest.mark.parametrize("operation", WRITING)
def test_a_file_with_a_second_name_is_not_written(operation: str, inside: Folder) -> None:
    os.link(inside.root.parent / "outside" / "thesis.tex", inside.path("rows"))
    with pytest.raises(LinkError, match="another name elsewhere"):
        OPERATIONS[operation](inside, "rows")
    assert intact(inside)


@pytest.mark.parametrize("operation", ["read", "append", "truncate", "exists"])
def test_a_named_pipe_is_refused_and_not_waited_for(operation: str, inside: Folder) -> None:
    os.mkfifo(inside.path("rows"))
    with pytest.raises((LinkError, OSError), match="rows"):
        OPERATIONS[operation](inside, "rows")


@pytest.mark.parametrize("name", ["../outside/thesis.tex", "a/../../outside/thesis.tex", "/etc/passwd", "", "."])
def test_a_name_does_not_lead_out(name: str, inside: Folder) -> None:
    with pytest.raises(ValueError):
        inside.append(name, b"x")
    assert intact(inside)


def test_the_folder_itself_may_be_reached_by_a_link(inside: Folder) -> None:
    """It is the user who names it."""
    link = inside.root.parent / "link"
    link.symlink_to(inside.root, target_is_directory=True)
    Folder(link).write("rows", b"mine")
    assert inside.read("rows") == b"mine"


def test_lengths_and_names(inside: Folder) -> None:
    assert inside.length("rows") == 0 and not inside.exists("rows") and inside.names("none") == []
    assert inside.append("rows", b"one") == 3 and inside.append("rows", b"two") == 6
    inside.truncate("rows", 4)
    assert inside.read("rows") == b"onet" and inside.length("rows") == 4
    inside.make("a/b")
    assert inside.names() == ["a", "rows"] and inside.names("a") == ["b"]


def test_a_mode_is_of_the_new_file_alone(inside: Folder) -> None:
    inside.write("rows", b"x", mode=0o600)
    inside.make("states", 0o700)
    assert inside.path("rows").stat().st_mode & 0o777 == 0o600
    assert inside.path("states").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_full_disk_is_one_line_with_the_file_and_the_way_on(number: int) -> None:
    with pytest.raises(OSError) as error, named_errors("/a/rows"):
        raise OSError(number, os.strerror(number))
    assert error.value.errno == number and "\n" not in str(error.value)
    assert f"{os.strerror(number)}: '/a/rows'; all that was saved before is whole: make room" in str(error.value)


def test_an_error_is_named_once_and_keeps_its_class() -> None:
    with pytest.raises(PermissionError) as error, named_errors("/a"), named_errors("/a/rows"):
        raise OSError(errno.EACCES, "Permission denied")
    assert error.value.strerror == "Permission denied: '/a/rows'; give a place that this user may read and write"


def test_temporary_files_are_known_by_their_names(inside: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def keep(temporary: str, *rest: Any, **folders: Any) -> None:
        seen.append(temporary)
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(os, "replace", keep)
    with pytest.raises(OSError, match="rows"):
        write_atomic(inside.path("rows"), b"x")
    assert inside.names() == [] and temporary_of(seen[0]) == "rows"
    assert temporary_of("rows") is temporary_of(".rows") is temporary_of(".rows.tmp-1") is None
