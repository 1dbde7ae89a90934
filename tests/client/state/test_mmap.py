"""Private state in stacked arrays: the contract of ``VersionedFileStore``, rows apart, files that outlive a process."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmtl.client.state.base import LostState, StateError, StateStore
from fedmtl.client.state.files import MemoryBackend, VersionedFileStore
from fedmtl.client.state.mmap import MmapStateStore
from fedmtl.core.trees import tree_leaves
from fedmtl.protocol.requests import START_ANEW
from tests.forks import start

CLIENTS = np.array([3, 4, 9, 2**31, 2**32 - 2])


def states(*values: float) -> dict[str, Any]:
    """Leaves of several kinds: a scalar, an odd number of bytes, numpy arrays beside tensors, None."""
    numbers = np.array(values, np.float64)
    return {
        "private": {
            "bias": torch.tensor(values, dtype=torch.float32),
            "flags": torch.tensor(numbers.astype(np.uint8)[:, None].repeat(3, 1)),
            "weight": torch.tensor(numbers[:, None, None].repeat(2, 1).repeat(5, 2)),
        },
        "codec": (numbers.astype(np.float32)[:, None].repeat(4, 1), None),
    }


def first(rows: np.ndarray) -> dict[str, Any]:
    return states(*[0.0] * len(rows))


def values(tree: Any) -> list[float]:
    """Row by row, the number that all leaves hold."""
    rows = np.concatenate([np.asarray(leaf, np.float64).reshape(len(leaf), -1) for leaf in tree_leaves(tree)], axis=1)
    assert rows.shape[1] == 1 + 3 + 10 + 4 and (rows == rows[:, :1]).all()
    return rows[:, 0].tolist()


@pytest.fixture(params=["memory", "files", "client by client"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    """The same promises, whoever keeps them."""
    if request.param == "client by client":
        return VersionedFileStore(MemoryBackend())
    return MmapStateStore(CLIENTS, tmp_path / "rows" if request.param == "files" else None)


def load(store: StateStore, version: int, *places: int, kind: str = "k") -> list[float]:
    return values(store.load_rows(kind, CLIENTS[list(places)], version, first))


def save(store: StateStore, version: int, places: list[int], *numbers: float, kind: str = "k") -> None:
    store.save_rows(kind, CLIENTS[places], version, states(*numbers))


def test_a_client_without_a_state_has_its_first_one(store: StateStore) -> None:
    assert load(store, 8, 0, 4) == [0, 0]
    save(store, 1, [1], 5)
    assert load(store, 8, 0, 1, 4) == [0, 5, 0]


def test_first_states_are_those_of_the_rows_that_lack_one(store: StateStore) -> None:
    """They may differ from client to client."""
    save(store, 1, [1], 5)

    def by_row(rows: np.ndarray) -> dict[str, Any]:
        return states(*(10.0 + rows).tolist())

    assert values(store.load_rows("k", CLIENTS, 8, by_row)) == [10, 5, 12, 13, 14]


def test_leaves_come_back_with_their_types_and_shapes(store: StateStore) -> None:
    save(store, 1, [0, 4], 7, 8)
    got, expected = store.load_rows("k", CLIENTS[[4, 0]], 1, first), states(8, 7)
    assert got["codec"][1] is None and got["private"].keys() == expected["private"].keys()
    for leaf, wanted in zip(tree_leaves(got), tree_leaves(expected), strict=True):
        assert type(leaf) is type(wanted) and leaf.dtype == wanted.dtype and leaf.shape == wanted.shape


def test_a_request_starts_from_the_version_that_it_sends(store: StateStore) -> None:
    for version in (1, 2):
        save(store, version, [0, 1], version, 10 * version)
    assert load(store, 2, 0, 1) == [2, 20] and load(store, 1, 0, 1) == [1, 10]


def test_the_first_round_starts_from_nothing_each_time(store: StateStore) -> None:
    for number in (5, 6):
        save(store, 1, [0], number)
        assert load(store, 0, 0) == [0] and load(store, 1, 0) == [number]


def test_a_round_that_is_run_again_replaces_its_own_version_only(store: StateStore) -> None:
    save(store, 4, [0], 4)
    for number in (7, 8, 9):
        save(store, 7, [0], number)
        assert load(store, 6, 0) == [4] and load(store, 7, 0) == [number]


def test_two_versions_are_kept(store: StateStore) -> None:
    for version in (1, 2, 5, 6):
        save(store, version, [0, 2], version, version)
    assert load(store, 8, 0) == [6] and load(store, 5, 0) == [5] and load(store, 5, 2) == [5]


def test_a_start_that_is_no_longer_kept_is_an_error() -> None:
    """Only the last round may be run again: another start would silently be another one's."""
    store = MmapStateStore(CLIENTS)
    save(store, 1, [0], 1)
    save(store, 2, [1], 2)
    with pytest.raises(StateError, match=r"\(3\) cannot be used: that of round 1 is newer than version 0 of the model"):
        load(store, 0, 0)
    assert load(store, 1, 1) == [0] and load(store, 2, 0, 1) == [1, 2]


def test_clients_are_apart(store: StateStore) -> None:
    save(store, 1, [0, 3], 1, 2)
    assert load(store, 1, 0, 1, 2, 3, 4) == [1, 0, 0, 2, 0]


def test_kinds_are_apart() -> None:
    """Structures that are read as one would be other numbers. A client has one kind, so no other store looks at it."""
    store = MmapStateStore(CLIENTS)
    save(store, 1, [0, 3], 1, 2)
    save(store, 1, [3], 4, kind="l")
    assert load(store, 1, 0, 3) == [1, 2] and load(store, 1, 0, 3, kind="l") == [0, 4]


def test_what_was_loaded_is_the_callers_own(store: StateStore) -> None:
    save(store, 1, [0], 1)
    got = store.load_rows("k", CLIENTS[:1], 1, first)
    got["private"]["bias"].fill_(99)
    got["codec"][0][:] = 99
    assert load(store, 1, 0) == [1]


@pytest.mark.parametrize(
    "nothing", [None, {}, {"private": {}, "codec": None}, {"private": torch.zeros(5, 0)}], ids=repr
)
def test_a_state_without_numbers_is_no_trouble(store: StateStore, nothing: Any) -> None:
    store.save_rows("k", CLIENTS, 1, nothing)
    got = store.load_rows("k", CLIENTS, 1, lambda rows: nothing)
    assert repr(got) == repr(nothing)


@pytest.mark.parametrize("changed", [torch.int64, torch.float64, torch.float16])
def test_a_state_keeps_its_types(changed: torch.dtype) -> None:
    """Or its bytes would be read as other numbers."""
    store = MmapStateStore(CLIENTS)
    save(store, 1, [0], 1)
    other = states(2)
    other["private"]["bias"] = other["private"]["bias"].to(changed)
    with pytest.raises(StateError, match="keeps the types and shapes of its arrays, .*; return from local_update"):
        store.save_rows("k", CLIENTS[:1], 2, other)
    assert load(store, 8, 0) == [1]


# Files


def test_another_process_finds_what_was_written(tmp_path: Path) -> None:
    save(MmapStateStore(CLIENTS, tmp_path), 3, [0, 4], 1, 2)
    assert load(MmapStateStore(CLIENTS, tmp_path), 3, 0, 1, 4) == [1, 0, 2]


def test_two_workers_share_the_files(tmp_path: Path) -> None:
    one, other = MmapStateStore(CLIENTS, tmp_path), MmapStateStore(CLIENTS, tmp_path)
    save(one, 1, [0, 2], 1, 3)
    save(other, 1, [1, 3], 2, 4)
    assert load(one, 1, 0, 1, 2, 3) == load(other, 1, 0, 1, 2, 3) == [1, 2, 3, 4]


def test_rows_that_nobody_wrote_take_no_space(tmp_path: Path) -> None:
    """100,000 clients × 1 MB on a disk that need not have 100 GB."""
    many = np.arange(100_000)
    store = MmapStateStore(many, tmp_path)
    big = {"w": torch.ones(1, 2**18)}
    store.save_rows("k", many[77_777:77_778], 1, big)
    got = store.load_rows("k", many[77_777:77_778], 1, lambda rows: {"w": torch.zeros(len(rows), 2**18)})
    assert torch.equal(got["w"], big["w"])
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) < 2**23


def test_a_process_that_is_killed_leaves_the_version_before(tmp_path: Path) -> None:
    """It is killed over and over while it writes round 2 of everybody: version 2 is whole, or version 1 is."""
    save(MmapStateStore(CLIENTS, tmp_path), 1, [0, 1, 2, 3, 4], 1, 1, 1, 1, 1)
    code = (
        "import itertools\n"
        "from tests.client.state.test_mmap import CLIENTS, MmapStateStore, save\n"
        f"store = MmapStateStore(CLIENTS, {str(tmp_path)!r})\n"
        "for n in itertools.count(2):\n"
        "    save(store, 2, [0, 1, 2, 3, 4], n, n, n, n, n)\n"
        "    if n == 3: print('on', flush=True)\n"
    )
    for _ in range(3):
        process = start(code=code, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = MmapStateStore(CLIENTS, tmp_path)
        assert all(value >= 1 for value in load(store, 2, 0, 1, 2, 3, 4))
        assert load(store, 1, 0, 1, 2, 3, 4) == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("files", [False, True])
def test_a_write_that_ends_in_the_middle_is_no_version(files: bool, tmp_path: Path) -> None:
    """Of the row itself: half of its bytes are new when the write ends. The row is marked before its first byte is
    written, so it is the version before that counts, and it is put back."""
    store = MmapStateStore(CLIENTS, tmp_path if files else None)
    save(store, 1, [0, 1, 2], 1, 1, 1)
    (table,) = store._tables.values()
    state = states(2, 2)
    half = table.rows.shape[1] // 2

    class HalfWritten(np.ndarray):
        """Rows of which one assignment writes the first half, and ends."""

        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__((key, slice(0, half)), value[:, :half])
            raise InterruptedError

    store._tables["k"] = table._replace(rows=table.rows.view(HalfWritten))
    with pytest.raises(InterruptedError):
        store.save_rows("k", CLIENTS[[1, 2]], 2, state)
    after = MmapStateStore(CLIENTS, tmp_path) if files else store
    if not files:
        store._tables["k"] = table
    assert load(after, 2, 0, 1, 2) == [1, 1, 1]
    assert load(after, 1, 0, 1, 2) == [1, 1, 1]


def flip(folder: Path, place: int) -> None:
    (path,) = folder.glob("*.rows")
    rows = np.memmap(path, np.uint8, "r+")
    rows.reshape(len(CLIENTS), -1)[place, 0] ^= 1
    rows.flush()


def test_a_damaged_state_of_the_last_round_is_an_error_and_the_one_before_where_that_is_allowed(tmp_path: Path) -> None:
    store = MmapStateStore(CLIENTS, tmp_path)
    save(store, 1, [0, 1], 1, 1)
    save(store, 2, [0, 1], 2, 2)
    flip(tmp_path, 1)
    again = MmapStateStore(CLIENTS, tmp_path)
    with pytest.raises(LostState, match=r"\(4\) cannot be used: that of round 2 is damaged.*--restart-clients"):
        load(again, 2, 0, 1)
    assert values(again.load_rows("k", CLIENTS[:2], 2, first, np.array([2, START_ANEW]))) == [2, 1]
    save(again, 3, [1], 3)
    assert load(again, 2, 1) == [1] and load(again, 3, 1) == [3]


def test_a_damaged_state_of_an_older_round_is_an_error(tmp_path: Path) -> None:
    store = MmapStateStore(CLIENTS, tmp_path)
    save(store, 1, [0, 1], 1, 1)
    save(store, 2, [0], 2)
    flip(tmp_path, 1)
    again = MmapStateStore(CLIENTS, tmp_path)
    with pytest.raises(LostState, match=r"\(4\) cannot be used: that of round 1 is damaged"):
        load(again, 2, 1)
    assert values(again.load_rows("k", CLIENTS[:2], 2, first, np.array([2, START_ANEW]))) == [2, 0]


def test_a_client_that_has_trained_must_have_its_state(store: StateStore) -> None:
    """Whoever keeps it: none at all, or one from before the round of which it sent its last update."""
    save(store, 1, [0, 1], 1, 1)
    save(store, 2, [1], 2)

    def with_since(*since: int) -> list[float]:
        return values(store.load_rows("k", CLIENTS[:3], 2, first, np.array(since)))

    assert with_since(1, 2, 0) == with_since(0, 1, 0) == with_since(START_ANEW, START_ANEW, START_ANEW) == [1, 2, 0]
    for since, lost in (((2, 2, 0), 3), ((1, 2, 1), 9)):
        with pytest.raises(LostState, match=rf"\({lost}\) cannot be used: .*no state since then"):
            with_since(*since)


def test_one_state_takes_the_space_of_one(tmp_path: Path) -> None:
    """200 rounds of 5 clients with rows of 64 KiB: 5 rows, and 5 of the last round, and not 1,000 or 10 times 5."""
    store = MmapStateStore(CLIENTS, tmp_path)
    for version in range(1, 201):
        store.save_rows("k", CLIENTS, version, {"w": torch.full((5, 2**14), float(version))})
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) < 11 * 2**16


def half_written(folder: Path, place: int) -> None:
    """What a process leaves that is killed between the first byte of a row and the last."""
    (path,) = folder.glob("*.versions")
    versions = np.memmap(path, np.int64, "r+")
    versions[place] = 0
    versions.flush()
    flip(folder, place)


def test_a_half_written_row_is_put_back_by_whoever_comes_next_however_late(tmp_path: Path) -> None:
    """The worker that was killed in round 2 is followed by two, and client 4 is not asked again before round 9."""
    store = MmapStateStore(CLIENTS, tmp_path)
    save(store, 1, [0, 1, 2], 1, 1, 1)
    save(store, 2, [0, 1], 2, 2)
    half_written(tmp_path, 1)
    one, other = MmapStateStore(CLIENTS, tmp_path), MmapStateStore(CLIENTS, tmp_path)
    save(one, 2, [0], 2)
    save(other, 2, [2], 2)
    for version in (3, 4):
        save(one, version, [0], version)
        save(other, version, [2], version)
    assert load(other, 8, 0, 1, 2) == [4, 1, 4]
    assert load(MmapStateStore(CLIENTS, tmp_path), 8, 0, 1, 2) == [4, 1, 4]


def test_workers_delete_nothing_that_another_still_needs(tmp_path: Path) -> None:
    """One begins round 2 when the other has saved it, is killed and comes again for it. Round 1's are gone by then."""
    one, other = MmapStateStore(CLIENTS, tmp_path), MmapStateStore(CLIENTS, tmp_path)
    for store, place in ((one, 0), (other, 1)):
        save(store, 1, [place], 1)
    save(other, 2, [1], 2)
    later = MmapStateStore(CLIENTS, tmp_path)
    save(later, 2, [0], 2)
    assert load(MmapStateStore(CLIENTS, tmp_path), 1, 1) == [1]
    assert len(list(tmp_path.glob("*.undo-*"))) == 2


def test_a_block_that_was_not_written_to_its_end_is_left_out(tmp_path: Path) -> None:
    store = MmapStateStore(CLIENTS, tmp_path)
    save(store, 1, [0, 1], 1, 1)
    save(store, 2, [0], 2)
    save(store, 2, [1], 2)
    (path,) = tmp_path.glob("*.undo-*")
    path.write_bytes(path.read_bytes()[:-1])  # the second block: by then, no row of it has been touched
    assert load(MmapStateStore(CLIENTS, tmp_path), 1, 0) == [1]


def test_blocks_of_the_round_before_are_not_taken_for_those_of_this(tmp_path: Path) -> None:
    """Round 3 has written over the first of two when the process is killed; the second still lies behind it."""
    store = MmapStateStore(CLIENTS, tmp_path)
    save(store, 1, [0, 1], 1, 1)
    save(store, 2, [0], 2)
    save(store, 2, [1], 2)
    save(store, 3, [0], 3)
    later = MmapStateStore(CLIENTS, tmp_path)
    save(later, 3, [1], 3)
    assert load(later, 2, 0, 1) == load(MmapStateStore(CLIENTS, tmp_path), 2, 0, 1) == [2, 2]


def test_files_of_another_federation_are_refused(tmp_path: Path) -> None:
    save(MmapStateStore(CLIENTS, tmp_path), 1, [0], 1)
    with pytest.raises(StateError, match="it was written for other clients or another model"):
        load(MmapStateStore(CLIENTS[:4], tmp_path), 1, 0)
