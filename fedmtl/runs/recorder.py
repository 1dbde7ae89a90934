"""A run as it grows: its rows, ledger and checkpoint, in memory, and in a folder when there is one.

Rows are appended, and the checkpoint, replaced in one step, says how many bytes of them belong to it: what a
killed run wrote after its last checkpoint is cut off when it is resumed.
"""

import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedmtl.callbacks.base import RunInfo
from fedmtl.callbacks.replay import exchanges
from fedmtl.callbacks.runner import NO_CALLBACKS, CallbackRunner
from fedmtl.client.state.base import StateError
from fedmtl.core.file_format import check_format
from fedmtl.core.files import Folder
from fedmtl.data.base import Schema
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.requests import START_ANEW
from fedmtl.runs.best_file import remove_old_best, write_best
from fedmtl.runs.checkpoint import (
    CHECKPOINT,
    Saved,
    add_to,
    read_state,
    restore,
    restore_last_updates,
    restore_raw_data,
    state_folder,
    write_checkpoint,
    write_raw_data,
)
from fedmtl.runs.columns import RoundMetrics, by_task, digest, round_score, rows
from fedmtl.runs.columns import blocks as metric_blocks
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.final_files import names_in, write_results
from fedmtl.runs.metrics import measure_blocks
from fedmtl.runs.open_folder import open_folder, write_first_files
from fedmtl.runs.progress import Progress, progress_of
from fedmtl.runs.result import Result, diagnostics_of, measures_of
from fedmtl.runs.run_folder import mark_begun, remove_temporaries
from fedmtl.runs.run_tables import Blocks, RunTables
from fedmtl.runs.summary import summarise
from fedmtl.runs.training_rows import training_blocks
from fedmtl.server.round_result import RoundResult
from fedmtl.server.server import Server
from fedmtl.tables import blocks
from fedmtl.tables.schemas import CONFUSION, LEDGER, MEASURES, METRICS, TABLES, TEST, TRAIN_LOSS, TRAINING
from fedmtl.tables.schemas import rows as rows_in


class Recorder:
    """Keeps a run's rows and transfers: in its folder when there is one, else in memory, a byte or two a number.

    Args:
        experiment: what runs.
        folder: where to; None keeps everything in memory.
        resume: go on from the folder's checkpoint.
        facts: what must stay the same over the run's life, see ``same_run``.
        restart_clients: let clients whose private state is lost begin anew.

    Raises:
        ValueError: the folder holds a run and ``resume`` is false, or it holds a run of another experiment.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: str | Path | None,
        resume: bool = False,
        facts: Mapping[str, Any] | None = None,
        restart_clients: bool = False,
    ) -> None:
        self.experiment = experiment
        self._restart_clients = restart_clients
        self.folder = None if folder is None else Path(folder)
        self.finished: dict[str, Any] | None = None
        """The summary, when the folder holds a finished run."""
        self._saved = Saved()
        self.run = uuid.uuid4().hex
        """Name that distinguishes this run's private state from that of others; a resumed run keeps it."""
        self._tables = RunTables(self.folder)
        self._begun = False
        """True where the folder's manifest says that a round has been finished."""
        self.schema: Schema | None = None
        """Schema of the data, known before ``restore``; its names of clients go into rows."""
        self.floors: Mapping[str, Mapping[str, float]] = {}
        """Task -> value and score of the best constant prediction; none where the data is on devices."""
        self.callbacks: CallbackRunner = NO_CALLBACKS
        """Those that get the run's rows."""
        self._train_loss: float | None = None
        """Mean over the clients of the last exchange; None where none is sent."""
        if self.folder is not None:
            earlier, self.finished = open_folder(self.folder, experiment, resume, facts or {})
            self.run = earlier or self.run

    @property
    def exchanges(self) -> int:
        """Exchanges that are done and saved, without the test of the best round."""
        return self._saved.exchanges

    def next_exchange(self, server: Server) -> Exchange | None:
        """Return the exchange that the run goes on with; None where all is done but the summary."""
        return server.schedule.exchange(self._saved.exchanges, server.best, self._saved.tested)

    @property
    def state_folder(self) -> str | None:
        """Folder of the private state of this machine's nodes."""
        return state_folder(self.experiment, self.folder, self.run)

    @property
    def info(self) -> RunInfo:
        """The run, for callbacks."""
        name = self.experiment.name if self.folder is None else self.folder.name
        return RunInfo(self.run, name, self.experiment.label, self.experiment.to_dict(), self.folder)

    def restore(self, server: Server) -> None:
        """Put the server, its ledger and the rows where the checkpoint left them; at the start when there is none."""
        if self.folder is None:
            return
        remove_temporaries(self.folder)
        files = Folder(self.folder)
        if files.exists(CHECKPOINT):
            server.state, note = read_state(files, server.state)
            check_format(files.path(CHECKPOINT), note.get("format", 1))
            try:
                self._saved = restore(note, server, self.folder)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise StateError(
                    f"{str(files.path(CHECKPOINT))!r} says what no run writes ({type(error).__name__}: "
                    f"{str(error)[:200]}); restore the file, or begin anew in another folder (--out)."
                ) from None
        else:
            write_first_files(files, self.experiment, self.run, self.schema)
        for table in TABLES:
            blocks.cut(self.folder / table.file, self._saved.marks[table.name])
        restore_last_updates(self.folder, self._saved.marks[LEDGER.name], server)
        if self._restart_clients:
            for since in [server.since, *([server.best_snapshot.since] if server.best_snapshot is not None else [])]:
                since[since > 0] = START_ANEW
        restore_raw_data(files, server)
        if self.callbacks:
            self.callbacks.replay(exchanges(self.folder, self._saved.marks))

    def record(self, exchange: Exchange, server: Server, outcome: RoundResult) -> Progress:
        """Keep the result of an exchange; with a folder, on disk before this returns."""
        start, saved = time.perf_counter(), self._saved
        tests = exchange.last and server.schedule.validates
        trained = (saved.trained[:0], saved.training_seconds[:0]) if tests else (saved.trained, saved.training_seconds)
        measured = by_task(outcome.measurements, *trained, server.spent(tests))
        if measured is not None:
            saved.score = round_score(server.plan.tasks, measured)
            saved.rows_digest = digest(saved.rows_digest, measured)
        if server.schedule.validates and exchange.measure and not tests:
            server.record_score(exchange.version, math.nan if measured is None else saved.score)
        if exchange.train:
            saved.trained, saved.training_seconds = outcome.trained, outcome.seconds
        other = measure_blocks(server.plan.tasks, server.plan.kinds, outcome.measurements, exchange.last)
        if trained_now := training_blocks(exchange.number, outcome.training, outcome.times):
            other[TRAINING.name] = trained_now
        loss = outcome.training.get(TRAIN_LOSS)
        self._train_loss = loss.mean() if trained_now and loss is not None else None
        packets = server.ledger.latest() if self.callbacks else []
        if self.folder is not None:
            self._write(self.folder, exchange, server, measured, other)
        else:
            self._tables.add(measured, other)
        saved.tested, saved.exchanges = tests, saved.exchanges if tests else exchange.number
        self.add_seconds(write=time.perf_counter() - start)
        if self.callbacks:  # after the checkpoint, so that none has a row that a resumed run lacks
            start, some = time.perf_counter(), {**other, LEDGER.name: packets}
            found = {METRICS.name: [] if measured is None else list(rows(server.plan.tasks, measured))}
            for table in (MEASURES, CONFUSION, TRAINING, LEDGER):
                found[table.name] = list(rows_in(table, iter(some.get(table.name, []))))
            self.callbacks.exchange(found)
            self.add_seconds(callbacks=time.perf_counter() - start)
        return self.progress(server, outcome.problems, tests, measured is not None)

    def progress(
        self, server: Server, problems: Mapping[int, str] | None = None, tests: bool = False, measured: bool = True
    ) -> Progress:
        """Return the progress of the run."""
        loss = self._train_loss
        return progress_of(server, self._saved.exchanges, self._saved.score, problems or {}, tests, measured, loss)

    def _write(
        self,
        folder: Path,
        exchange: Exchange,
        server: Server,
        measured: RoundMetrics | None,
        other: Mapping[str, Blocks],
    ) -> None:
        files, tests = Folder(folder), exchange.last and server.schedule.validates
        done = self._saved.exchanges if tests else exchange.number
        saved = replace(self._saved, exchanges=done, tested=tests)
        if exchange.version == 0:
            write_raw_data(files, server)
        found = [] if measured is None else metric_blocks(server.plan.tasks, measured)
        self._tables.append({**other, METRICS.name: found, LEDGER.name: server.ledger.blocks()}, saved.marks)
        server.ledger.flush()
        if exchange.measure and not tests:
            write_best(files, exchange.version, server)
        write_checkpoint(files, saved, server)
        if not self._begun:
            mark_begun(folder)
            self._begun = True
        remove_old_best(files, saved.tested, server)

    def add_seconds(self, **spent: float) -> None:
        """Add wall seconds, by phase."""
        add_to(self._saved.seconds, spent)

    def add_bytes(self, carried: Mapping[str, int], **packets: int) -> None:
        """Add bytes of packet arrays where they are sent and received, and counts of a network (runs/transport.py)."""
        add_to(self._saved.transport, carried)
        add_to(self._saved.message_bytes, packets)

    def finish(self, server: Server) -> Result:
        """Return the result; with a folder, the summary and the model are written."""
        saved = self._saved
        result = server.best.round if server.schedule.validates else server.schedule.rounds
        last = self._tables.metrics(server.plan.tasks, saved.marks, result, TEST)()
        summary = summarise(self.experiment, server, last, saved)
        names = {} if self.schema is None else self.schema.client_names
        summary |= {"floors": dict(self.floors), **names_in(server.plan.tasks, names)}
        for row in self._tables.other(MEASURES, saved.marks, result)():
            if row["client"] is None and row["part"] == TEST:
                summary["tasks"][row["task"]]["measures"] = measures_of(row)
        if self.folder is not None:
            write_results(Folder(self.folder), server, saved.marks, summary, names)
        return self.result(server, summary)

    def result(self, server: Server, summary: dict[str, Any]) -> Result:
        marks = self._saved.marks
        return Result(
            self._tables.metrics(server.plan.tasks, marks),
            self._tables.ledger(server.ledger, marks),
            summary,
            server.state,
            self.folder,
            diagnostics_of(server.plan.algorithm, server.state),
            *self._tables.others(marks),
            references={} if server.references is None else server.references.snapshot(),
        )
