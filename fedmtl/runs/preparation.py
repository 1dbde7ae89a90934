"""The preparation before the first round, in a run's ledger and in its folder."""

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateError
from fedmtl.core.files import Folder
from fedmtl.protocol.packets import PacketError
from fedmtl.protocol.preparation import read_agreed
from fedmtl.runs.checkpoint import CHECKPOINT
from fedmtl.runs.recorder import Recorder
from fedmtl.runs.run_folder import AGREED
from fedmtl.server.server import Server
from fedmtl.tables.schemas import LEDGER, METRICS, rows

Sent = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Clients, and the bytes of each one's packet."""


def record_preparation(recorder: Recorder, server: Server, packet: bytes, up: Sent, down: Sent) -> None:
    """Count the packets of a preparation, and keep what was agreed for when the run goes on.

    Args:
        recorder: of the run, before its first round.
        server: with the ledger.
        packet: with what was agreed.
        up, down: what clients sent, and were sent.
    """
    server.ledger.record_many(0, up[0], "up", "prepare", up[1])
    server.ledger.record_many(0, down[0], "down", "prepare", down[1])
    if recorder.folder is not None:
        Folder(recorder.folder).write(AGREED, packet)
    if recorder.callbacks:
        found = list(rows(LEDGER, iter(server.ledger.latest())))
        recorder.callbacks.exchange({METRICS.name: [], LEDGER.name: found})


def recorded_agreement(recorder: Recorder, digest: bytes) -> bytes | None:
    """Return the packet with what was agreed when the run began; None for a run that begins.

    Raises:
        StateError: the file is damaged, or of other columns.
    """
    files = None if recorder.folder is None else Folder(recorder.folder)
    if files is None or not files.exists(CHECKPOINT) or not files.exists(AGREED):
        return None
    packet = files.read(AGREED)
    try:
        read_agreed(packet, digest)
    except PacketError as error:
        raise StateError(
            f"{str(files.path(AGREED))!r}: {error} Restore the file, or begin anew in another folder (--out)."
        ) from None
    return packet
