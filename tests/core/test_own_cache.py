"""The cache's folders: what another user put there is neither run nor read."""

import os
import pickle
import stat
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmtl.core.own_cache import is_own, own_cache
from fedmtl.data import partition, watch
from fedmtl.engines import tuning
from fedmtl.engines.trace.cpp import build


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FEDMTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is there is another user's: this process has another number from here on."""
    number = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: number + 1)


def test_a_folder_is_made_for_this_user_alone(cache: Path) -> None:
    assert stat.S_IMODE(own_cache("part").stat().st_mode) == 0o700
    (cache / "part").chmod(0o777)
    assert stat.S_IMODE(own_cache("part").stat().st_mode) == 0o700


def test_a_folder_of_another_user_or_a_link_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir()
    (cache / "linked").symlink_to(tmp_path)
    with pytest.raises(OSError, match="belongs to another user or is a link; set FEDMTL_CACHE to a folder of your own"):
        own_cache("linked")
    own_cache("part")
    others(cache, monkeypatch)
    with pytest.raises(OSError, match="belongs to another user"):
        own_cache("part")


def test_a_file_is_own_where_no_other_can_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    assert not is_own(path, 10)
    path.write_bytes(b"12345")
    path.chmod(0o644)
    assert is_own(path, 5) and not is_own(path, 4) and not is_own(tmp_path, 10**6)
    (tmp_path / "link").symlink_to(path)
    assert not is_own(tmp_path / "link", 10)
    for mode in (0o664, 0o646):
        path.chmod(mode)
        assert not is_own(path, 5)
    path.chmod(0o600)
    others(tmp_path, monkeypatch)
    assert not is_own(path, 5)


# What reads them


@pytest.mark.parametrize(
    "text", ['{"chunk": 4097}', '{"chunk": true}', '{"chunk": 1e9}', "[" * 50_000, '{"chunk": 8}' + " " * 70_000]
)
def test_a_note_that_this_library_does_not_write_is_not_taken(cache: Path, text: str) -> None:
    tuning.cached({"function": "f"}, lambda: 8)
    next((cache / "tuning").iterdir()).write_text(text)
    assert tuning.cached({"function": "f"}, lambda: 4) == 4


def test_a_note_that_another_could_write_is_not_taken(cache: Path) -> None:
    tuning.cached({"function": "f"}, lambda: 8)
    next((cache / "tuning").iterdir()).chmod(0o666)
    assert tuning.cached({"function": "f"}, lambda: 4) == 4


def test_a_folder_of_notes_of_another_user_is_left_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuning.cached({"function": "f"}, lambda: 8)
    others(cache, monkeypatch)
    assert tuning.cached({"function": "f"}, lambda: 4) == 4


SOURCE = 'extern "C" void program(long rows, void** pointers, long* steps) {}'


def test_a_library_that_another_could_write_is_not_loaded(cache: Path) -> None:
    """Bytes that no loader takes, where the library was: it is built again, and not loaded."""
    build._function(SOURCE)
    (path,) = (cache / "native").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    inode = path.stat().st_ino
    build._function.cache_clear()
    build._function(SOURCE)
    assert path.stat().st_ino == inode
    path.unlink()
    path.write_bytes(b"another user's")
    path.chmod(0o666)
    build._function.cache_clear()
    build._function(SOURCE)
    assert path.read_bytes()[:4] == b"\x7fELF" and stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_library_in_a_folder_of_another_user_is_not_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build._function(SOURCE)
    build._function.cache_clear()
    others(cache, monkeypatch)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **settings: pytest.fail("a compiler was started"))
    with pytest.raises(OSError, match="belongs to another user"):
        build._function(SOURCE)


def parts(name: str, draw: Any = lambda: [np.arange(3), np.arange(3, 5)]) -> list[list[int]]:
    return [rows.tolist() for rows in partition._kept(name, 5, 2, draw)]


def never() -> Any:
    raise AssertionError("drawn again")


def test_a_partition_is_kept_and_read(cache: Path) -> None:
    assert parts("a.npz") == [[0, 1, 2], [3, 4]] == parts("a.npz", never)


@pytest.mark.parametrize(
    "arrays",
    [
        {"0": [0, 1, 2]},  # a client is missing
        {"0": [0, 1, 2], "1": [3, 5]},  # a row that is not there
        {"0": [0, 1, 2], "1": [2, 3]},  # a row twice
        {"0": [0, 1, 2], "1": [3]},  # a row is missing
        {"0": [0.0, 1, 2], "1": [3.0, 4]},
        {"0": [[0, 1, 2]], "1": [[3, 4, 5]]},
        {"0": [0, 1, 2], "1": np.array([{}, {}], object)},
    ],
    ids=str,
)
def test_a_partition_that_is_none_is_drawn_again(cache: Path, arrays: dict[str, Any]) -> None:
    parts("a.npz")
    np.savez(cache / "partitions" / "a.npz", **arrays)
    assert parts("a.npz", lambda: [np.arange(2), np.arange(2, 5)]) == [[0, 1], [2, 3, 4]]
    assert parts("a.npz", never) == [[0, 1], [2, 3, 4]]


def test_a_partition_that_is_packed_is_not_unpacked(cache: Path) -> None:
    """400 MB of zeros in a few kB."""
    parts("a.npz")
    path = cache / "partitions" / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npy", b"\0" * 4_000_000)
    assert path.stat().st_size > 3000
    assert parts("a.npz") == [[0, 1, 2], [3, 4]]


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("called",)


def test_the_watchs_file_holds_numbers_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = {"X": np.array([np.ones((2, 3)), np.zeros((1, 3))], object), "y": np.arange(2), "n": np.float64(3)}
    for value in (good, {"X": Evil()}, Evil()):
        np.save("file.npy", np.array(value, object), allow_pickle=True)
        if value is good:
            back = watch._unpickled(Path("file.npy")).item()
            assert back["X"][0].tolist() == [[1] * 3] * 2 and back["y"].tolist() == [0, 1] and back["n"] == 3
            continue
        with pytest.raises(ValueError, match="Watch's file holds numbers only, got posix.mkdir; install"):
            watch._unpickled(Path("file.npy"))
        assert pickle.dumps(value) and not (tmp_path / "called").exists()
