"""The server's memory of broadcasts in a checkpoint: a file of arrays beside it, and with the best round's state."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedmtl.core.files import Folder
from fedmtl.data.roster import Roster
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.reference import Reference
from fedmtl.runs.arrays_file import read_arrays, remove_old_arrays, write_arrays
from fedmtl.server.references import References

STEM = "references"
"""Stem of the file of references after a round."""


def write_references(files: Folder, round: int, references: References | None) -> dict[str, Any]:
    """Write the memory after an exchange, and return its part of the note."""
    if references is None:
        return {}
    return {"references": write_arrays(files, STEM, round, references.arrays())}


def restore_references(files: Folder, note: Mapping[str, Any], references: References | None) -> None:
    """Put the memory where a checkpoint left it.

    Raises:
        ValueError, KeyError, TypeError: a note that no run writes.
        StateError: the file is gone or damaged.
    """
    if references is not None:
        found = read_arrays(files, STEM, note["round"], note["references"], "models that clients hold")
        references.load_arrays(found)


def read_references(files: Folder, note: Mapping[str, Any], plan: Plan, roster: Roster) -> dict[str, Reference]:
    """Read the references of a finished run."""
    references = References(plan, roster)
    restore_references(files, note, references)
    return references.snapshot()


def remove_old_references(files: Folder, round: int, references: References | None) -> None:
    """Remove memories of other rounds than the checkpoint's."""
    if references is not None:
        remove_old_arrays(files, STEM, round)


def with_references(state: Any, references: Mapping[str, Reference]) -> Any:
    """Return a tree of the server's state of the best round and the references of its broadcasts."""
    if not references:
        return state
    numbers = {key: one.numbers for key, one in sorted(references.items())}
    return {"state": state, "references": numbers}


def without_references(tree: Any, version: int, template: Mapping[str, Reference]) -> tuple[Any, dict[str, Reference]]:
    """Undo ``with_references``."""
    if not template:
        return tree, {}
    return tree["state"], {key: Reference(version, np.asarray(one)) for key, one in tree["references"].items()}
