"""The server's state after the best round so far, beside the checkpoint, which names the round."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmtl.client.state.base import StateError
from fedmtl.client.state.encoding import state_from_bytes, state_to_bytes
from fedmtl.core.files import Folder
from fedmtl.protocol.best_round import NO_ROUND, BestRound, RoundSnapshot
from fedmtl.runs.arrays_file import from_text, to_text
from fedmtl.runs.references_file import with_references, without_references
from fedmtl.server.server import Server

BEST_FILE = re.compile(r"best-\d+\.state")


def best_file(round: int) -> str:
    """Return the place of the state of a round in the run's folder."""
    return f"checkpoint/best-{round}.state"


def write_best(files: Folder, version: int, server: Server) -> None:
    """Write the server's state of a version that was measured, where it is the best one so far; before the note."""
    kept = server.best_snapshot
    if kept is not None and kept.version == version:
        tree = with_references(kept.state, kept.references)
        files.write(best_file(version), state_to_bytes(tree, {"since": to_text(kept.since, "<i8")}))


def remove_old_best(files: Folder, tested: bool, server: Server) -> None:
    """Remove states of best rounds that the checkpoint does not name; after the test it names none."""
    if server.schedule.validates:
        needed = "" if tested else best_file(server.best.round).rpartition("/")[2]
        for name in files.names("checkpoint"):
            if BEST_FILE.fullmatch(name) and name != needed:
                files.remove(f"checkpoint/{name}")


def restore_best(values: Mapping[str, Any], tested: bool, server: Server, folder: Path) -> None:
    """Restore the best round so far, and the server's state of it; of a run that is tested that is its state."""
    score = math.nan if values["score"] is None else float(values["score"])
    server.best = BestRound(int(values["round"]), score, int(values["waited"]), int(values["last"]))
    if tested or server.best.round == NO_ROUND:
        return
    name, held = best_file(server.best.round), {} if server.references is None else server.references.snapshot()
    try:
        tree, kept = state_from_bytes(Folder(folder).read(name), with_references(server.state, held))
    except (StateError, FileNotFoundError) as error:
        why = "is gone" if isinstance(error, FileNotFoundError) else str(error)
        raise StateError(
            f"{str(folder / name)!r}, of the best round so far: {why}; restore the file, or begin anew in "
            "another folder (--out)."
        ) from None
    state, references = without_references(tree, server.best.round, held)
    server.best_snapshot = RoundSnapshot(server.best.round, state, from_text(kept["since"], "<i8").copy(), references)
