"""The simulated clock in a checkpoint: its numbers in the note, and of asynchronous rounds the updates under way in a
file beside it."""

import re
from collections.abc import Mapping
from typing import Any

from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from xxhash import xxh3_128_hexdigest

from fedmtl.client.state.base import StateError
from fedmtl.core.files import Folder
from fedmtl.server.clock import Clock

FLIGHT_FILE = re.compile(r"flight-\d+\.state")
"""Updates under way after a round, beside the checkpoint, which names the round."""


def write_clock(files: Folder, round: int, clock: Clock | None) -> dict[str, Any]:
    """Return the clock's part of the note of a round, before which updates under way are written."""
    if clock is None:
        return {}
    note: dict[str, Any] = {"clock": clock.state_dict()}
    if clock.flight is not None:
        data = save_arrays(clock.flight.arrays())
        files.write(f"checkpoint/flight-{round}.state", data)
        note["flight"] = xxh3_128_hexdigest(data)
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
    if clock.flight is None:
        return
    name = f"checkpoint/flight-{note['round']}.state"
    data = files.read(name) if files.exists(name) else b""
    if xxh3_128_hexdigest(data) != note["flight"]:
        raise StateError(
            f"{str(files.path(name))!r}, updates under way, is gone or damaged; restore the file, or begin anew in "
            "another folder (--out)."
        )
    clock.flight.load_arrays(load_arrays(data))


def remove_old_flights(files: Folder, round: int, clock: Clock | None) -> None:
    """Remove updates under way of other rounds than the checkpoint's."""
    if clock is None or clock.flight is None:
        return
    for name in files.names("checkpoint"):
        if FLIGHT_FILE.fullmatch(name) and name != f"flight-{round}.state":
            files.remove(f"checkpoint/{name}")
