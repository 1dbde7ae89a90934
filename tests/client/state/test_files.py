"""Private state: versions, damage, and one battery over everything that can keep it."""

import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict

from fedmtl.client.state.base import Backend, LostState, OtherState, StateError
from fedmtl.client.state.encoding import state_from_bytes, state_to_bytes
from fedmtl.client.state.files import FileBackend, MemoryBackend, VersionedFileStore
from fedmtl.core.files import write_atomic
from fedmtl.protocol.requests import START_ANEW
from fedmtl.runtime.flower.context_backend import ContextBackend
from tests import forks


def state(value: float) -> dict[str, Any]:
    """What a client keeps: parameters, and a codec's memory with None for a codec that has none."""
    return {
        "private": {"head.a.weight": torch.full((2, 3), float(value)), "head.a.bias": torch.tensor(float(value))},
        "codec": (np.full(4, value, np.float32), None),
    }


def first() -> dict[str, Any]:
    return state(0.0)


def value_of(tree: Any) -> float:
    """The number that all leaves of a ``state`` hold."""
    numbers = [*tree["private"]["head.a.weight"].flatten().tolist(), tree["private"]["head.a.bias"].item()]
    numbers += tree["codec"][0].tolist()
    assert len(numbers) == 11 and len(set(numbers)) == 1 and tree["codec"][1] is None
    return numbers[0]


# Bytes of a state


def test_a_state_comes_back_with_its_bits_kinds_and_note() -> None:
    tree = state(1.5)
    tree["private"]["head.a.bias"] = torch.tensor(-0.0)
    tree["private"]["head.a.weight"] = torch.tensor([[1e-45, 3.4e38, -1.0], [0.1, 2.0, 3.0]])
    note = {"round": 3, "seconds": {"4": 0.25}, "words": ["ä", None, True]}
    back, back_note = state_from_bytes(state_to_bytes(tree, note), first())
    assert back_note == note
    assert isinstance(back["private"]["head.a.bias"], torch.Tensor) and back["private"]["head.a.bias"].shape == ()
    for name, value in tree["private"].items():
        assert back["private"][name].numpy().tobytes() == value.numpy().tobytes()
    assert isinstance(back["codec"], tuple) and isinstance(back["codec"][0], np.ndarray)
    assert back["codec"][0].dtype == np.float32 and np.array_equal(back["codec"][0], tree["codec"][0])


@pytest.mark.parametrize("tree", [None, {}, {"private": None, "codec": None}, {"a": torch.zeros(0)}])
def test_states_without_numbers_come_back(tree: Any) -> None:
    back, note = state_from_bytes(state_to_bytes(tree), tree)
    assert str(back) == str(tree) and note == {}


def test_transposed_and_sliced_tensors_come_back() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tree = {"t": base.T, "s": base[:, ::2], "n": np.arange(6, dtype=np.int64)[::-2]}
    back, _ = state_from_bytes(state_to_bytes(tree), tree)
    assert torch.equal(back["t"], base.T) and torch.equal(back["s"], base[:, ::2])
    assert back["n"].tolist() == [5, 3, 1] and back["n"].dtype == np.int64


def test_every_cut_and_every_flipped_byte_is_noticed() -> None:
    data = state_to_bytes(state(1.0), {"round": 1})
    for length in range(len(data)):
        with pytest.raises(StateError, match="truncated or damaged"):
            state_from_bytes(data[:length], first())
    for at in range(len(data)):
        with pytest.raises(StateError, match="truncated or damaged"):
            state_from_bytes(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :], first())


def test_another_kind_of_file_is_named() -> None:
    data = b"else" + state_to_bytes(state(1.0))[4:-4]
    with pytest.raises(StateError, match="starts with b'fmst', got b'else': this is another kind of file"):
        state_from_bytes(data + struct.pack("<I", zlib.crc32(data)), first())


OTHER_STATES = [
    {"private": {"head.a.weight": torch.zeros(3, 2), "head.a.bias": torch.tensor(0.0)}, "codec": first()["codec"]},
    {"private": {"head.b.weight": torch.zeros(2, 3), "head.a.bias": torch.tensor(0.0)}, "codec": first()["codec"]},
    {"private": first()["private"], "codec": None},
    {"private": first()["private"], "codec": (np.zeros(4, np.float64), None)},
    {"private": first()["private"]},
]
"""Another shape, name, codec, dtype, nesting."""

# One battery for all backends


class Kept(NamedTuple):
    """A backend, and a way to put other bytes where a version is, behind its back."""

    backend: Backend
    damage: Callable[[int, int, bytes], None]
    reopen: Callable[[], Backend]
    """What a process that starts now finds."""


def memory(folder: Path) -> Kept:
    backend = MemoryBackend()
    return Kept(backend, lambda client, version, data: backend.write(client, version, data), lambda: backend)


def files(folder: Path) -> Kept:
    path = folder / "state"

    def damage(client: int, version: int, data: bytes) -> None:
        (path / f"{client}" / f"{version:08d}.state").write_bytes(data)

    return Kept(FileBackend(path), damage, lambda: FileBackend(path, fsync=False))


def context(folder: Path) -> Kept:
    records = RecordDict()

    def damage(client: int, version: int, data: bytes) -> None:
        records.array_records[f"fedmtl.{client}"][f"{version}"] = Array("uint8", (len(data),), "fedmtl.state", data)

    return Kept(ContextBackend(records), damage, lambda: ContextBackend(records))


@pytest.fixture(params=[memory, files, context], ids=lambda make: make.__name__)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    return request.param(tmp_path)


def test_bytes_are_kept_by_client_and_version(kept: Kept) -> None:
    backend = kept.backend
    assert backend.versions(7) == []
    for version in (12, 3, 100, 9):
        backend.write(7, version, b"%d" % version)
    backend.write(70, 1, b"other")
    assert backend.versions(7) == [3, 9, 12, 100] and backend.versions(70) == [1] and backend.versions(0) == []
    backend.write(7, 9, b"again")
    backend.delete(7, 12)
    for seen in (backend, kept.reopen()):
        assert seen.versions(7) == [3, 9, 100]
        assert [seen.read(7, version) for version in (3, 9, 100)] == [b"3", b"again", b"100"]
        assert seen.read(70, 1) == b"other"


def test_a_client_without_state_starts_from_the_template(kept: Kept) -> None:
    assert value_of(VersionedFileStore(kept.backend).load(3, 0, lambda: state(0.25))) == 0.25
    assert kept.backend.versions(3) == []  # looking leaves nothing


def test_the_newest_state_up_to_a_version_is_loaded(kept: Kept) -> None:
    store = VersionedFileStore(kept.backend)
    store.save(3, 2, state(2.0))
    store.save(3, 5, state(5.0))
    store.save(4, 1, state(-1.0))
    for seen in (store, VersionedFileStore(kept.reopen())):
        loaded = {version: value_of(seen.load(3, version, first)) for version in range(7)}
        assert loaded == {0: 0.0, 1: 0.0, 2: 2.0, 3: 2.0, 4: 2.0, 5: 5.0, 6: 5.0}
        assert value_of(seen.load(4, 8, first)) == -1.0


def test_two_versions_are_kept(kept: Kept) -> None:
    store = VersionedFileStore(kept.backend)
    seen = []
    for version in (1, 2, 5, 9):
        store.save(3, version, state(version))
        seen.append(kept.backend.versions(3))
    assert seen == [[1], [1, 2], [2, 5], [5, 9]]
    assert kept.reopen().versions(3) == [5, 9]


def test_saving_a_round_again_replaces_it_and_keeps_the_one_before(kept: Kept) -> None:
    store = VersionedFileStore(kept.backend)
    for version, value in ((1, 1.0), (2, 2.0), (2, 2.5)):
        store.save(3, version, state(value))
    assert kept.backend.versions(3) == [1, 2]
    assert [value_of(store.load(3, version, first)) for version in (1, 2)] == [1.0, 2.5]


def test_going_back_to_an_earlier_round_does_not_lose_it(kept: Kept) -> None:
    """A server that was restored from an old checkpoint runs round 2 again while versions 4 and 5 are there."""
    store = VersionedFileStore(kept.backend)
    for version in (1, 4, 5):
        store.save(3, version, state(version))
    store.save(3, 2, state(2.0))
    assert value_of(store.load(3, 2, first)) == 2.0


def test_a_damaged_newest_version_is_an_error_and_no_older_one_in_its_place(kept: Kept) -> None:
    """The run would end with other numbers, in silence."""
    store = VersionedFileStore(kept.backend)
    for version in (1, 2):
        store.save(3, version, state(version))
    kept.damage(3, 2, kept.backend.read(3, 2)[:-1])
    for since in (0, 1, 2):
        with pytest.raises(LostState, match="that of round 2 is damaged .*truncated or damaged.*--restart-clients"):
            VersionedFileStore(kept.reopen()).load(3, 2, first, since)
    assert value_of(VersionedFileStore(kept.reopen()).load(3, 2, first, START_ANEW)) == 1.0
    assert value_of(store.load(3, 1, first)) == 1.0  # nothing was said where nothing was needed
    store.save(3, 3, state(3.0))
    assert value_of(store.load(3, 3, first)) == 3.0


def test_when_every_version_is_damaged_it_says_so_and_starts_nothing_anew(kept: Kept) -> None:
    store = VersionedFileStore(kept.backend)
    for version in (1, 2):
        store.save(3, version, state(version))
        kept.damage(3, version, b"")
    with pytest.raises(LostState, match=r"The private state of 1 client\(s\) \(3\) cannot be used: .*0 bytes"):
        store.load(3, 2, first)
    assert value_of(store.load(3, 2, first, START_ANEW)) == 0.0
    assert value_of(store.load(4, 2, first)) == 0.0  # others go on


@pytest.mark.parametrize("other", OTHER_STATES, ids=["shape", "name", "codec", "dtype", "nesting"])
def test_a_state_of_another_experiment_is_refused_with_a_way_out(kept: Kept, other: Any) -> None:
    store = VersionedFileStore(kept.backend)
    store.save(3, 1, other)
    with pytest.raises(OtherState) as error:
        store.load(3, 1, first, START_ANEW)
    assert "another model, algorithm or codec" in str(error.value)
    assert "Use another state folder, or go back to that experiment" in str(error.value)


def test_a_client_that_has_trained_must_have_its_state(kept: Kept) -> None:
    """None at all, or one from before the round of which it sent its last update."""
    store = VersionedFileStore(kept.backend)
    with pytest.raises(LostState, match="it trained in round 2, and no state since then is in "):
        store.load(3, 4, first, 2)
    store.save(3, 1, state(1.0))
    with pytest.raises(LostState, match="it trained in round 2, and no state since then is in "):
        store.load(3, 4, first, 2)
    assert value_of(store.load(3, 4, first, 1)) == value_of(store.load(3, 4, first, START_ANEW)) == 1.0
    store.save(3, 4, state(4.0))  # of an update that did not reach the server
    assert value_of(store.load(3, 4, first, 2)) == 4.0
    assert store.load(4, 4, lambda: {"private": {}, "codec": None}, 2) == {"private": {}, "codec": None}


def test_lost_states_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(LostState(list(range(20)), "why")))
    assert isinstance(error, LostState) and error.clients == list(range(20)) and "9, …)" in str(error)


def test_loading_and_saving_leave_the_given_trees_alone(kept: Kept) -> None:
    store, tree = VersionedFileStore(kept.backend), state(2.0)
    store.save(3, 1, tree)
    loaded = store.load(3, 1, first)
    loaded["private"]["head.a.weight"].zero_()
    loaded["codec"][0][:] = 0
    assert value_of(tree) == 2.0 and value_of(store.load(3, 1, first)) == 2.0


# Files


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A path where nobody can make a folder, not even root: below a regular file."""
    (tmp_path / "file").write_text("x")
    return tmp_path / "file" / "state"


def test_a_folder_that_cannot_be_made_is_one_error_that_names_it(blocked: Path) -> None:
    before = sorted(blocked.parent.parent.rglob("*"))
    with pytest.raises(OSError) as error:
        FileBackend(blocked)
    assert f"The state folder {str(blocked)!r} cannot be written (Not a directory)" in str(error.value)
    assert "give a folder that this user may write" in str(error.value)
    assert error.value.errno and error.value.__cause__ is None and error.value.__suppress_context__
    assert sorted(blocked.parent.parent.rglob("*")) == before and blocked.parent.read_text() == "x"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no folders")
def test_a_folder_on_a_file_system_that_takes_none_is_named() -> None:
    with pytest.raises(OSError, match="The state folder '/proc/fedmtl' cannot be written"):
        FileBackend("/proc/fedmtl")


def test_a_folder_that_exists_but_takes_no_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user without the right to write, whom a test that runs as root cannot play."""

    def refuse(*arguments: Any, **settings: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match="cannot be written .Permission denied.; private state must be kept"):
        FileBackend(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_opening_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    FileBackend(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]


def test_only_versions_are_in_the_folder(tmp_path: Path) -> None:
    store = VersionedFileStore(FileBackend(tmp_path))
    for version in (1, 2, 3):
        store.save(3, version, state(version))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "3",
        "3/00000002.state",
        "3/00000003.state",
    ]


def test_what_a_killed_process_left_half_written_is_no_version(tmp_path: Path) -> None:
    VersionedFileStore(FileBackend(tmp_path)).save(3, 1, state(1.0))
    (tmp_path / "3" / ".00000002.state.4711").write_bytes(b"half")
    backend = FileBackend(tmp_path)
    assert backend.versions(3) == [1] and value_of(VersionedFileStore(backend).load(3, 8, first)) == 1.0


@pytest.mark.parametrize("crash", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_crash_before_the_rename_leaves_the_old_version_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: BaseException, function: str
) -> None:
    store = VersionedFileStore(FileBackend(tmp_path))
    for version in (1, 2):
        store.save(3, version, state(version))
    before = {path.name: path.read_bytes() for path in (tmp_path / "3").iterdir()}

    def fail(*arguments: Any, **folders: Any) -> None:
        raise crash

    for version in (2, 3):  # one that exists, one that is new
        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            with pytest.raises(type(crash)):
                store.save(3, version, state(99.0))
        assert {path.name: path.read_bytes() for path in (tmp_path / "3").iterdir()} == before
    for seen in (store, VersionedFileStore(FileBackend(tmp_path))):
        assert value_of(seen.load(3, 8, first)) == 2.0
    store.save(3, 3, state(3.0))
    assert value_of(store.load(3, 8, first)) == 3.0


def test_a_process_killed_before_the_rename_leaves_the_old_version(tmp_path: Path) -> None:
    """Nothing is tidied up here: the process is gone in the middle of ``write_atomic``."""
    VersionedFileStore(FileBackend(tmp_path)).save(3, 1, state(1.0))
    code = (
        "import os\n"
        "from fedmtl.client.state.files import FileBackend\n"
        "os.replace = lambda *paths, **folders: os._exit(9)\n"
        f"FileBackend({str(tmp_path)!r}).write(3, 2, b'half')\n"
    )
    assert forks.run(code=code).returncode == 9
    backend = FileBackend(tmp_path)
    assert backend.versions(3) == [1] and value_of(VersionedFileStore(backend).load(3, 8, first)) == 1.0


@pytest.mark.parametrize("fsync", [True, False])
def test_writing_atomically_replaces_a_file(tmp_path: Path, fsync: bool) -> None:
    path = tmp_path / "a.txt"
    for data in (b"one", b"", b"two" * 1000):
        write_atomic(path, data, fsync=fsync)
        assert path.read_bytes() == data and list(tmp_path.iterdir()) == [path]


def test_the_disk_is_asked_before_and_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then rename, then folder: the only order in which a loss of power leaves the old or the new version."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def log_fsync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def log_replace(*paths: Any, **folders: Any) -> None:
        calls.append("rename")
        replace(*paths, **folders)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(os, "replace", log_replace)
    FileBackend(tmp_path).write(1, 1, b"x")
    assert calls == (["file", "rename", "folder"] if os.path.isdir("/proc/self/fd") else ["file", "rename", "file"])
    calls.clear()
    FileBackend(tmp_path, fsync=False).write(1, 2, b"x")
    assert calls == ["rename"]


# Flower's context


def test_private_state_in_a_context_is_under_its_own_name(tmp_path: Path) -> None:
    records = RecordDict()
    records["somebody else's"] = ArrayRecord({})
    VersionedFileStore(ContextBackend(records)).save(3, 1, state(1.0))
    assert sorted(records) == ["fedmtl.3", "somebody else's"]
    assert records.array_records["fedmtl.3"]["1"].data == state_to_bytes(state(1.0))


# Folders of devices


def test_states_are_for_their_user_alone(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for folder in (tmp_path / "open", tmp_path / "new"):
        VersionedFileStore(FileBackend(folder)).save(3, 1, state(1.0))
        modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
        assert modes == {folder.name: 0o700, "3": 0o700, "00000001.state": 0o600}


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="it belongs to another user"):
        FileBackend(tmp_path)


def test_older_runs_go_when_a_new_one_begins_and_other_files_stay(tmp_path: Path) -> None:
    words = [f"{number:032x}" for number in range(4)]
    for age, word in enumerate(words[:3]):
        VersionedFileStore(FileBackend(tmp_path / word)).save(3, 1, state(1.0))
        if age == 0:
            (tmp_path / word / "notes.txt").write_text("mine")
        os.utime(tmp_path / word, (age, age))
    (tmp_path / "backup").mkdir()
    for _ in range(2):  # a node opens its folder for each message
        FileBackend(tmp_path / words[3], keep_runs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [words[0], words[2], words[3], "backup"]
    assert [path.name for path in (tmp_path / words[0]).iterdir()] == ["notes.txt"]
    assert value_of(VersionedFileStore(FileBackend(tmp_path / words[2])).load(3, 8, first)) == 1.0
