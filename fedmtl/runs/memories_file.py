"""The server's memories of uploads in a checkpoint: a file for each version of the model whose clients were not asked
again since, written once, so that a round writes the memories of its cohort alone."""

import re
from collections.abc import Mapping
from typing import Any

from fedmtl.core.files import Folder
from fedmtl.runs.arrays_file import from_text, read_arrays, to_text, write_arrays
from fedmtl.server.memories import UploadMemories

STEM = "memories"
"""Stem of the files of memories that were taken for a version."""


def write_memories(files: Folder, memories: UploadMemories | None) -> dict[str, Any]:
    """Write the memories that are in no file yet, and return their part of the note."""
    if memories is None:
        return {}
    memories.digests = {
        version: memories.digests.get(version) or write_arrays(files, STEM, version, memories.arrays(version))
        for version in memories.live()
    }
    digests = {str(version): digest for version, digest in memories.digests.items()}
    return {"memories": {"versions": to_text(memories.versions, "<i8"), "digests": digests}}


def restore_memories(files: Folder, note: Mapping[str, Any], memories: UploadMemories | None) -> None:
    """Put the memories where a checkpoint left them.

    Raises:
        ValueError, KeyError, TypeError: a note that no run writes.
        StateError: a file is gone or damaged.
    """
    if memories is None:
        return
    memories.versions[:] = from_text(note["memories"]["versions"], "<i8")
    memories.digests = {version: note["memories"]["digests"][str(version)] for version in memories.live()}
    for version, digest in memories.digests.items():
        memories.load_arrays(version, read_arrays(files, STEM, version, digest, "what the server keeps of uploads"))


def remove_old_memories(files: Folder, memories: UploadMemories | None) -> None:
    """Remove the files of which no client has its memory any more."""
    for name in () if memories is None else files.names("checkpoint"):
        found = re.fullmatch(rf"{STEM}-(\d+)\.state", name)
        if found and memories is not None and int(found[1]) not in memories.digests:
            files.remove(f"checkpoint/{name}")
