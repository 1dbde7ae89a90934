"""Memories of uploads in a run's folder: each is written once; the checkpoint's are found again, or are an error."""

from pathlib import Path

import numpy as np
import pytest

from fedmtl.client.state.base import StateError
from fedmtl.core.files import Folder
from fedmtl.data.roster import Roster
from fedmtl.runs.memories_file import remove_old_memories, restore_memories, write_memories
from fedmtl.server.memories import UploadMemories

ROSTER = Roster({client: ("a",) for client in (3, 5, 8)})


def numbers(*values: float) -> np.ndarray:
    return np.repeat(np.array(values, np.float32)[:, None], 4, axis=1)


def files_of(folder: Folder) -> list[str]:
    return sorted(folder.names("checkpoint"))


def test_a_round_writes_its_own_and_the_checkpoints_are_found_again(tmp_path: Path) -> None:
    """Version 1 of clients 3 and 5, version 2 of 5: file 1 stays for client 3, until version 4 has it, too. A kill
    before a checkpoint leaves the files of the one before, whatever is there beside them."""
    folder, memories = Folder(tmp_path), UploadMemories(ROSTER)
    folder.make("checkpoint")
    memories.keep(1, np.array([3, 5]), numbers(1, 2))
    write_memories(folder, memories)
    first = (tmp_path / "checkpoint/memories-1.state").stat().st_mtime_ns
    memories.keep(2, np.array([5]), numbers(3))
    note = write_memories(folder, memories)
    remove_old_memories(folder, memories)
    assert files_of(folder) == ["memories-1.state", "memories-2.state"]
    assert (tmp_path / "checkpoint/memories-1.state").stat().st_mtime_ns == first
    memories.keep(4, np.array([3, 5]), numbers(4, 5))
    after = write_memories(folder, memories)
    for note_, versions, values in ((note, [1, 2, 0], [1, 3, 0]), (after, [4, 4, 0], [4, 5, 0])):
        again = UploadMemories(ROSTER)
        restore_memories(folder, note_, again)
        found = again.of(np.array([3, 5, 8]), 4)
        assert found.versions.tolist() == versions and found.numbers.tolist() == numbers(*values).tolist()
        assert write_memories(folder, again) == note_
    remove_old_memories(folder, memories)
    assert files_of(folder) == ["memories-4.state"]


def test_a_file_that_is_damaged_or_gone_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    folder, memories = Folder(tmp_path), UploadMemories(ROSTER)
    folder.make("checkpoint")
    memories.keep(7, np.array([8]), numbers(1))
    note, path = write_memories(folder, memories), tmp_path / "checkpoint/memories-7.state"
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(StateError, match="what the server keeps of uploads, is gone or damaged; restore the file"):
            restore_memories(folder, note, UploadMemories(ROSTER))
        path.unlink(missing_ok=True)
    with pytest.raises(KeyError):
        restore_memories(folder, {"memories": {**note["memories"], "digests": {}}}, UploadMemories(ROSTER))


def test_without_memories_nothing_is_written(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert write_memories(folder, None) == {} and list(tmp_path.iterdir()) == []
    restore_memories(folder, {}, None)
    remove_old_memories(folder, None)
