"""Checkpoint of a run: the server's state and a note, checked when it is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateError
from fedmtl.client.state.encoding import state_from_bytes, state_to_bytes
from fedmtl.core.file_format import FORMAT
from fedmtl.core.files import Folder
from fedmtl.protocol.best_round import NO_ROUND
from fedmtl.protocol.ledger import Ledger
from fedmtl.runs.arrays_file import from_text, to_text
from fedmtl.runs.best_file import restore_best
from fedmtl.runs.clock_file import remove_old_flights, restore_clock, write_clock
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.memories_file import remove_old_memories, restore_memories, write_memories
from fedmtl.runs.references_file import remove_old_references, restore_references, write_references
from fedmtl.server.server import Server
from fedmtl.tables.blocks import Mark
from fedmtl.tables.schemas import LEDGER, TABLES, read_table

CHECKPOINT = "checkpoint/server.state"
"""The server's state after the last finished round, in the run's folder."""


def state_folder(experiment: Experiment, folder: Path | None, run: str) -> str | None:
    """Folder of a run's private state on this machine's nodes; None: in memory, it ends with the run."""
    if experiment.runtime.state_dir:
        return f"{experiment.runtime.state_dir}/{run}"
    return None if folder is None else str(folder / "checkpoint" / "clients")


@dataclass
class Saved:
    """The part of a run, besides the server and the ledger, that a checkpoint holds."""

    exchanges: int = 0
    """Exchanges that are done, without the test of the best round."""
    seconds: dict[str, float] = field(default_factory=dict)
    message_bytes: dict[str, int] = field(default_factory=lambda: {"down": 0, "up": 0})
    transport: dict[str, int] = field(default_factory=dict)
    """Counts of what a network carried, see ``runs/transport.py``; none without a network."""
    trained: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Clients that trained in the last round: rows of the version that it made, measured one exchange later, hold their
    seconds."""
    training_seconds: NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    marks: dict[str, Mark] = field(default_factory=lambda: {table.name: Mark() for table in TABLES})
    """Ends of the files of the tables."""
    tested: bool = False
    """True where the best round's model is tested, where there are validation parts."""
    rows_digest: str = ""
    score: float = math.nan


def add_to(sums: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add numbers to sums of the same names."""
    for name, number in more.items():
        sums[name] = sums.get(name, 0) + number


def write_checkpoint(files: Folder, saved: Saved, server: Server) -> None:
    """Write the server's state and the note, in one step."""
    note = {
        "format": FORMAT,
        "round": saved.exchanges,
        "marks": saved.marks,
        "rows_digest": saved.rows_digest,
        "score": None if np.isnan(saved.score) else saved.score,
        "ledger": server.ledger.state_dict(),
        "message_bytes": saved.message_bytes,
        "transport": saved.transport,
        "seconds": saved.seconds,
        "rejected": dict(server.rejected),
        "trained": to_text(saved.trained, "<i8"),
        "training_seconds": to_text(saved.training_seconds, "<f8"),
    }
    if server.uploads_no_numbers or server.references is not None:
        note["since"] = to_text(server.since, "<i8")
    if server.schedule.validates:
        best = server.best
        score = None if np.isnan(best.score) else best.score
        values = {"round": best.round, "score": score, "waited": best.waited, "last": best.last}
        note |= {"best": values, "tested": saved.tested}
    note |= write_clock(files, saved.exchanges, server.clock)
    note |= write_references(files, saved.exchanges, server.references)
    note |= write_memories(files, server.memories)
    files.write(CHECKPOINT, state_to_bytes(server.state, note))
    remove_old_flights(files, saved.exchanges, server.clock)
    remove_old_references(files, saved.exchanges, server.references)
    remove_old_memories(files, server.memories)


def write_raw_data(files: Folder, server: Server) -> None:
    """Write the packets of examples that the server has got."""
    if server.placement.raw_data:
        files.make("checkpoint/gathered")
        for client, packet in server.placement.raw_data.items():
            files.write(f"checkpoint/gathered/{client}.packet", packet)


def restore_raw_data(files: Folder, server: Server) -> None:
    """Give the server the packets of raw data that ``write_raw_data`` wrote."""
    for name in files.names("checkpoint/gathered"):
        if name.endswith(".packet"):
            server.placement.raw_data[int(name.removesuffix(".packet"))] = files.read(f"checkpoint/gathered/{name}")


def restore(note: Mapping[str, Any], server: Server, folder: Path) -> Saved:
    """Put the server and its ledger where a note left them, and return the rest of it.

    Raises:
        ValueError, KeyError, TypeError, …: a note that no run of this number of rounds writes.
    """
    _check_note(note, server.schedule.rounds)
    server.ledger = Ledger.from_state_dict(note["ledger"])
    server.rejected.update(note.get("rejected", {}))
    saved = Saved(
        exchanges=note["round"],
        seconds=note["seconds"],
        message_bytes=note["message_bytes"],
        transport=note.get("transport", {}),
        trained=from_text(note["trained"], "<i8"),
        training_seconds=from_text(note["training_seconds"], "<f8"),
        marks={name: Mark(*mark) for name, mark in note["marks"].items()},
        rows_digest=note["rows_digest"],
        score=math.nan if note["score"] is None else note["score"],
    )
    restore_clock(Folder(folder), note, server.clock)
    restore_references(Folder(folder), note, server.references)
    restore_memories(Folder(folder), note, server.memories)
    if "since" in note:
        server.since[:] = from_text(note["since"], "<i8")
    if server.schedule.validates:
        saved.tested = bool(note["tested"])
        restore_best(note["best"], saved.tested, server, folder)
    return saved


def _check_note(note: Mapping[str, Any], rounds: int) -> Mapping[str, Any]:
    """Check that no number of a checkpoint's note is beyond those of a run of a number of rounds.

    Raises:
        ValueError, KeyError, TypeError: something else.
    """

    def count(what: str, value: Any, most: int = 2**62) -> None:
        if type(value) is not int or not 0 <= value <= most:
            raise ValueError(f"{what} is a whole number from 0 to {most}, got {str(value)[:40]}")

    count("round", note["round"], rounds + 1)  # exchanges: one a round, and one that only measures
    if set(note["marks"]) != {table.name for table in TABLES}:
        raise ValueError(f"marks are of {[table.name for table in TABLES]}, got {sorted(note['marks'])[:5]}")
    for length, number, checksum in note["marks"].values():
        count("bytes", length)
        count("lines", number)
        bytes.fromhex(checksum)
    if set(note["message_bytes"]) != {"down", "up"}:
        raise ValueError("message_bytes are down and up")
    for value in note["message_bytes"].values():
        count("message_bytes", value)
    for name, value in note.get("transport", {}).items():
        count(f"transport {name}", value)
    for value in note["seconds"].values():
        if not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ValueError(f"seconds are numbers from 0, got {str(value)[:40]}")
    if "best" in note:
        for field in ("round", "last", "waited"):
            count(f"best {field}", note["best"][field] - (NO_ROUND if field != "waited" else 0), rounds + 2)
        if not isinstance(note["best"]["score"], int | float | None) or not isinstance(note["tested"], bool):
            raise TypeError("a best score is a number, and tested true or false")
    if not isinstance(note["rows_digest"], str) or not isinstance(note["score"], int | float | None):
        raise TypeError("rows_digest is a text and score a number")
    return note


def read_state(files: Folder, template: Any) -> tuple[Any, dict[str, Any]]:
    """The server's state and the checkpoint's note."""
    try:
        return state_from_bytes(files.read(CHECKPOINT), template)
    except StateError as error:
        raise StateError(
            f"{str(files.path(CHECKPOINT))!r}: {error} Restore the file, or begin anew in another folder (--out)."
        ) from None


def restore_last_updates(folder: Path, mark: Mark, server: Server) -> None:
    """From the ledger, the last round of which each client sent an update."""
    for block in read_table(folder, LEDGER, mark) if mark.bytes else ():
        columns = block.columns
        up, train = block.shared["directions"].index("up"), block.shared["purposes"].index("train")
        some = (columns["direction"] == up) & (columns["purpose"] == train) & (columns["packet_bytes"] > 0)
        clients, rounds = columns["client"][some], columns["round"][some]
        known = np.isin(clients, server.roster.clients)
        np.maximum.at(server.since, server.roster.rows(clients[known]), rounds[known])
