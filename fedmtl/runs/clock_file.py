"""The simulated clock in a checkpoint: its numbers in the note, and of asynchronous rounds the updates under way in a
file beside it."""

from collections.abc import Mapping
from typing import Any

from fedmtl.core.files import Folder
from fedmtl.runs.arrays_file import read_arrays, remove_old_arrays, write_arrays
from fedmtl.server.clock import Clock

FLIGHT = "flight"
"""Stem of the file of updates under way after a round."""


def write_clock(files: Folder, round: int, clock: Clock | None) -> dict[str, Any]:
    """Return the clock's part of the note of a round, before which updates under way are written."""
    if clock is None:
        return {}
    note: dict[str, Any] = {"clock": clock.state_dict()}
    if clock.flight is not None:
        note["flight"] = write_arrays(files, FLIGHT, round, clock.flight.arrays())
    return note


def restore_clock(files: Folder, note: Mapping[str, Any], clock: Clock | None) -> None:
    """Put the clock where a checkpoint left it.

    Raises:
        ValueError, KeyError, TypeError: a note that no run writes.
        StateError: updates under way are gone or damaged.
    """
    if clock is None:
        return
    clock.load_state_dict(note["clock"])
    if clock.flight is not None:
        clock.flight.load_arrays(read_arrays(files, FLIGHT, note["round"], note["flight"], "updates under way"))


def remove_old_flights(files: Folder, round: int, clock: Clock | None) -> None:
    """Remove updates under way of other rounds than the checkpoint's."""
    if clock is not None and clock.flight is not None:
        remove_old_arrays(files, FLIGHT, round)
