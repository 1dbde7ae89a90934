"""The preparation before the first round, in the ledger: one packet up and one down for each client."""

from fedmtl.data.prepared import Prepared
from fedmtl.protocol.packets import HEADER_BYTES
from fedmtl.runs.recorder import Recorder
from fedmtl.server.server import Server
from fedmtl.tables.schemas import LEDGER, METRICS, rows


def count_preparation(recorder: Recorder, server: Server, prepared: Prepared | None) -> None:
    """Count the packets by which clients agreed on statistics and words; not again where a run goes on."""
    if prepared is None or recorder.exchanges > 0:
        return
    server.ledger.record_many(0, prepared.clients, "up", "prepare", prepared.up + HEADER_BYTES)
    server.ledger.record_many(0, prepared.clients, "down", "prepare", prepared.down + HEADER_BYTES)
    if recorder.callbacks:
        found = list(rows(LEDGER, iter(server.ledger.latest())))
        recorder.callbacks.exchange({METRICS.name: [], LEDGER.name: found})
