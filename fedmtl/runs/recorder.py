"""A run as it grows: its rows, ledger and checkpoint, in memory, and in a folder when there is one.

Rows are appended, and the checkpoint, replaced in one step, says how many bytes of them belong to it: what a
killed run wrote after its last checkpoint is cut off when it is resumed.
"""

import base64
import importlib.metadata
import json
import math
import os
import platform
import re
import time
import tomllib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray
from safetensors.torch import save as save_tensors

from fedmtl.callbacks.base import RunInfo
from fedmtl.callbacks.replay import exchanges
from fedmtl.callbacks.runner import NO_CALLBACKS, CallbackRunner
from fedmtl.client.state.base import StateError
from fedmtl.client.state.encoding import state_from_bytes, state_to_bytes
from fedmtl.core.file_format import FORMAT, OtherFormat, check_format
from fedmtl.core.files import Folder
from fedmtl.protocol.best_round import NO_ROUND, BestRound
from fedmtl.protocol.best_round import RoundSnapshot as KeptState
from fedmtl.protocol.ledger import Ledger
from fedmtl.protocol.requests import START_ANEW
from fedmtl.runs.columns import (
    PackedMetrics,
    RoundMetrics,
    by_task,
    digest,
    mean_score,
    pack_metrics,
    rows,
    unpack_metrics,
)
from fedmtl.runs.columns import blocks as metric_blocks
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.experiment_fields import EXECUTION_FIELDS
from fedmtl.runs.metrics import measure_blocks
from fedmtl.runs.result import Progress, Result, diagnostics_of, diagnostics_text, measures_of, named_tensors
from fedmtl.runs.run_folder import (
    RUN_FILES,
    Manifest,
    check_folder,
    mark_begun,
    read_manifest,
    read_word,
    remove_states,
    remove_temporaries,
    write_manifest,
)
from fedmtl.runs.same_run import check_same
from fedmtl.runs.summary import summarise, summary_from_bytes, summary_to_bytes
from fedmtl.runs.training_rows import training_blocks
from fedmtl.server.round_result import RoundResult
from fedmtl.server.server import Server
from fedmtl.tables import blocks
from fedmtl.tables.blocks import Mark
from fedmtl.tables.schemas import (
    CONFUSION,
    LEDGER,
    MEASURES,
    METRICS,
    TABLES,
    TEST,
    TRAINING,
    Row,
    Table,
    json_lines,
    named,
    read_table,
)
from fedmtl.tables.schemas import rows as rows_in
from fedmtl.tasks.base import Task
from fedmtl.tasks.names import class_names

EXPORTED = 100_000
"""Lines of a run, metrics and ledger together, up to which it leaves them as JSON too when it ends."""

BEST_FILE = re.compile(r"best-\d+\.state")
"""The server's state after the best round so far, beside the checkpoint, which names the round."""

CHECKPOINT = "checkpoint/server.state"
"""The server's state after the last finished round, in the run's folder."""


def environment() -> dict[str, Any]:
    """Return the environment of a run: versions and the machine's kind."""
    packages = ("fedmtl", "flwr", "numpy", "ray", "torch")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": versions,
    }


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
        self.round = 0
        """Rounds that are done and saved."""
        self.finished: dict[str, Any] | None = None
        """The summary, when the folder holds a finished run."""
        self.seconds: dict[str, float] = {}
        """Wall seconds by phase."""
        self.message_bytes = {"down": 0, "up": 0}
        """Bytes of the packet arrays in Flower's messages, counted where they are sent and received."""
        self.run = uuid.uuid4().hex
        """Name that distinguishes this run's private state from that of others; a resumed run keeps it."""
        self._trained: NDArray[Any] = np.zeros(0, np.int64)
        self._training_seconds: NDArray[Any] = np.zeros(0)
        """Clients that trained in the round that is done, and their seconds: rows of its model hold them later."""
        self._measured: list[PackedMetrics] = []
        """Metrics of measured rounds, when there is no folder."""
        self._blocks: dict[str, list[blocks.Block]] = {table.name: [] for table in (MEASURES, CONFUSION, TRAINING)}
        """The other metrics, when there is no folder."""
        self._marks = {table.name: Mark() for table in TABLES}
        """Ends of the files of the tables."""
        self._begun = False
        """True where the folder's manifest says that a round has been finished."""
        self._tested = False
        """True where the best round's model is tested, where there are validation parts."""
        self.client_names: Mapping[int, str] = {}
        """Names that the user gave clients."""
        self.floors: Mapping[str, Mapping[str, float]] = {}
        """Task -> value and score of the best constant prediction; none where the data is on devices."""
        self.callbacks: CallbackRunner = NO_CALLBACKS
        """Those that get the run's rows."""
        self._rows_digest = ""
        self._score = float("nan")
        self._train_loss: float | None = None
        """Mean over the clients of the last exchange; None where none is sent."""
        if self.folder is not None:
            self._prepare(self.folder, resume, facts or {})

    def _prepare(self, folder: Path, resume: bool, facts: Mapping[str, Any]) -> None:
        """Check the folder before anything is written. One without a finished round holds no run."""
        check_folder(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            manifest = read_manifest(folder) or Manifest(True, RUN_FILES)
            if not Folder(folder).exists(CHECKPOINT) and not Folder(folder).exists("summary.json"):
                manifest = replace(manifest, facts=facts)
                write_manifest(folder, manifest)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"The run folder {str(folder)!r} cannot be written ({os.strerror(error.errno or 0)}); give another "
                "(--out)",
            ) from None
        files = Folder(folder)
        files.make("checkpoint" if self.experiment.state_dir else "checkpoint/clients", 0o700)
        if not files.exists(CHECKPOINT):
            if files.exists("summary.json"):
                raise ValueError(
                    f"{str(folder)!r} holds a run that is finished and whose checkpoint is gone; give another folder "
                    "(--out), or delete it."
                )
            if manifest.begun:
                raise ValueError(
                    f"{str(files.path(CHECKPOINT))!r} is gone, and without it the run's finished rounds cannot go on; "
                    "restore the file, or begin anew in another folder (--out)."
                )
            remove_states(folder)  # of a run that ended before its first round did
            return
        if not resume:
            raise ValueError(f"{str(folder)!r} holds a run; resume it (--resume), or give another folder (--out).")
        before = _read_experiment(files)
        now = tomllib.loads(tomli_w.dumps(self.experiment.to_dict()))
        for key in sorted((before.keys() | now.keys()) - set(EXECUTION_FIELDS)):
            if repr(before.get(key)) != repr(now.get(key)):  # a cohort of 1 is not one of 1.0
                raise ValueError(
                    f"{str(folder)!r} holds a run with {key} = {before.get(key)!r}, got {now.get(key)!r}: a run "
                    "resumes with the experiment that it began with; give another folder (--out) for another."
                )
        if facts:
            check_same(str(folder), manifest.facts, facts)
        self.run = read_word(folder)
        if files.exists("summary.json"):
            self.finished = _read_summary(files)

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
            server.state, note = _read_state(files, server.state)
            check_format(files.path(CHECKPOINT), note.get("format", 1))
            try:
                self._go_on(_checked(note, self.experiment.rounds), server)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise StateError(
                    f"{str(files.path(CHECKPOINT))!r} says what no run writes ({type(error).__name__}: "
                    f"{str(error)[:200]}); restore the file, or begin anew in another folder (--out)."
                ) from None
        else:
            files.write("checkpoint/run", self.run.encode())
            files.write("environment.json", json.dumps(environment(), indent=2).encode())
            files.write("experiment.toml", tomli_w.dumps(self.experiment.to_dict()).encode())
        for table in TABLES:
            blocks.cut(self.folder / table.file, self._marks[table.name])
        _last_updates(self.folder, self._marks[LEDGER.name], server)
        if self._restart_clients:
            for since in [server.since, *([server.best_snapshot.since] if server.best_snapshot is not None else [])]:
                since[since > 0] = START_ANEW
        if server.plan.central and self.round > 0:
            for name in files.names("checkpoint/gathered"):
                if name.endswith(".packet"):
                    server.raw_data[int(name.removesuffix(".packet"))] = files.read(f"checkpoint/gathered/{name}")
        if self.callbacks:
            self.callbacks.replay(exchanges(self.folder, self._marks))

    def _go_on(self, note: Mapping[str, Any], server: Server) -> None:
        """From what ``_write`` noted."""
        server.ledger = Ledger.from_state_dict(note["ledger"])
        self.round = note["round"]
        self.seconds = note["seconds"]
        server.rejected.update(note.get("rejected", {}))
        self.message_bytes = note["message_bytes"]
        self._trained = _from_text(note["trained"], "<i8")
        self._training_seconds = _from_text(note["training_seconds"], "<f8")
        self._marks = {name: Mark(*mark) for name, mark in note["marks"].items()}
        if "since" in note:
            server.since[:] = _from_text(note["since"], "<i8")
        if server.validates:
            self._restore_best(note, server)
        self._rows_digest = note["rows_digest"]
        self._score = float("nan") if note["score"] is None else note["score"]

    def _restore_best(self, note: Mapping[str, Any], server: Server) -> None:
        """The best round so far, and what the server holds of it; of a run that is tested that is its state."""
        said = note["best"]
        score = math.nan if said["score"] is None else float(said["score"])
        server.best = BestRound(int(said["round"]), score, int(said["waited"]), int(said["last"]))
        self._tested = bool(note["tested"])
        if self._tested or self.folder is None or server.best.round == NO_ROUND:
            return
        name = _best_file(server.best.round)
        try:
            state, kept = state_from_bytes(Folder(self.folder).read(name), server.state)
        except (StateError, FileNotFoundError) as error:
            why = "is gone" if isinstance(error, FileNotFoundError) else str(error)
            raise StateError(
                f"{str(self.folder / name)!r}, of the best round so far: {why}; restore the file, or begin anew in "
                "another folder (--out)."
            ) from None
        server.best_snapshot = KeptState(server.best.round, state, _from_text(kept["since"], "<i8").copy())

    def is_over(self, server: Server) -> bool:
        """True when all is done but the summary."""
        return self._tested if server.validates else self.round > server.rounds

    def record(self, round: int, server: Server, outcome: RoundResult, tests: bool = False) -> Progress:
        """Keep what a round brought; with a folder, on disk before this returns.

        Args:
            tests: whether it was the test of the best round at the end.
        """
        start = time.perf_counter()
        trained = (self._trained[:0], self._training_seconds[:0]) if tests else (self._trained, self._training_seconds)
        measured = by_task(outcome.measurements, *trained)
        if measured is not None:
            self._score = mean_score(server.plan.tasks, measured)
            self._rows_digest = digest(self._rows_digest, measured)
        if tests:
            self._tested, round = True, self.round
        elif server.validates and server.evaluates(round - 1):
            server.record_score(round - 1, math.nan if measured is None else self._score)
        if round <= server.rounds and not tests:
            self._trained, self._training_seconds = outcome.trained, outcome.seconds
        last = tests or (measured is not None and not server.validates and measured.round == server.rounds)
        other = measure_blocks(server.plan.tasks, server.plan.kinds, outcome.measurements, last)
        if trained_now := training_blocks(round, outcome.training):
            other[TRAINING.name] = trained_now
        self._train_loss = outcome.training.mean() if trained_now else None
        packets = server.ledger.latest() if self.callbacks else []
        if self.folder is not None:
            self._write(self.folder, round, server, measured, other)
        for table in other if self.folder is None else ():
            self._blocks[table] += other[table]
        if self.folder is None and measured is not None:
            self._measured.append(pack_metrics(measured))
        self.round = round
        self.add_seconds("write", time.perf_counter() - start)
        if self.callbacks:  # after the checkpoint, so that none has a row that a resumed run lacks
            start = time.perf_counter()
            found = [] if measured is None else list(rows(server.plan.tasks, measured))
            brought = {METRICS.name: found}
            for table in (MEASURES, CONFUSION, TRAINING):
                brought[table.name] = list(rows_in(table, iter(other.get(table.name, []))))
            brought[LEDGER.name] = list(rows_in(LEDGER, iter(packets)))
            self.callbacks.exchange(brought)
            self.add_seconds("callbacks", time.perf_counter() - start)
        return self.progress(server, outcome.problems, tests, measured is not None)

    def progress(
        self, server: Server, problems: Mapping[int, str] | None = None, tests: bool = False, measured: bool = True
    ) -> Progress:
        """Return the progress of the run."""
        return Progress(
            round=server.best.round if tests else self.round,
            rounds=server.rounds,
            mean_score=self._score,
            bytes_up=server.ledger.total("up", ("train", "raw_data")),
            bytes_down=server.ledger.total("down", ("train", "raw_data")),
            problems=problems or {},
            part=TEST if tests else server.part,
            tests=tests,
            best=server.best,
            bytes_evaluation=sum(server.ledger.total(way, ("evaluate",)) for way in ("up", "down")),
            measured=measured,
            train_loss=self._train_loss,
        )

    def _write(
        self,
        folder: Path,
        round: int,
        server: Server,
        measured: RoundMetrics | None,
        other: Mapping[str, list[blocks.Block]],
    ) -> None:
        files = Folder(folder)
        if server.raw_data and round == 1:
            files.make("checkpoint/gathered")
            for client, packet in server.raw_data.items():
                files.write(f"checkpoint/gathered/{client}.packet", packet)
        new = {LEDGER: server.ledger.blocks()}
        if measured is not None:
            new[METRICS] = metric_blocks(server.plan.tasks, measured)
        new |= {table: other[table.name] for table in (MEASURES, CONFUSION, TRAINING) if other.get(table.name)}
        ends = blocks.append_all({folder / t.file: (self._marks[t.name], some) for t, some in new.items()})
        self._marks |= {table.name: ends[folder / table.file] for table in new}
        server.ledger.flush()
        note = {
            "format": FORMAT,
            "round": round,
            "marks": self._marks,
            "rows_digest": self._rows_digest,
            "score": None if np.isnan(self._score) else self._score,
            "ledger": server.ledger.state_dict(),
            "message_bytes": self.message_bytes,
            "seconds": self.seconds,
            "rejected": dict(server.rejected),
            "trained": _to_text(self._trained, "<i8"),
            "training_seconds": _to_text(self._training_seconds, "<f8"),
        }
        if server.uploads_no_numbers:
            note["since"] = _to_text(server.since, "<i8")
        if server.validates:
            best, kept = server.best, server.best_snapshot
            score = None if np.isnan(best.score) else best.score
            said = {"round": best.round, "score": score, "waited": best.waited, "last": best.last}
            note |= {"best": said, "tested": self._tested}
            if kept is not None and best.last == best.round == round - 1 and not self._tested:  # it is new
                files.write(_best_file(kept.round), state_to_bytes(kept.state, {"since": _to_text(kept.since, "<i8")}))
        files.write(CHECKPOINT, state_to_bytes(server.state, note))
        if not self._begun:
            mark_begun(folder)
            self._begun = True
        if server.validates:  # a checkpoint names one, and after the test none
            needed = "" if self._tested else _best_file(server.best.round).rpartition("/")[2]
            for name in files.names("checkpoint"):
                if BEST_FILE.fullmatch(name) and name != needed:
                    files.remove(f"checkpoint/{name}")

    def add_seconds(self, phase: str, seconds: float) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def finish(self, server: Server) -> Result:
        """The result; with a folder, the summary and the model are written."""
        result = server.best.round if server.validates else server.rounds
        last = self._rows(server, result, TEST)()
        summary = summarise(
            self.experiment, server, last, self._score, self._rows_digest, self.seconds, self.message_bytes
        )
        summary["floors"] = dict(self.floors)
        classes = {task: list(found) for task, kind in server.plan.tasks.items() if (found := class_names(kind))}
        if self.client_names or classes:
            summary["names"] = {"clients": {str(k): name for k, name in self.client_names.items()}, "classes": classes}
        for row in self._reader(MEASURES, result)():
            if row["client"] is None and row["part"] == TEST:
                summary["tasks"][row["task"]]["measures"] = measures_of(row)
        if self.folder is not None:
            files = Folder(self.folder)
            tensors = named_tensors(server.state)
            if tensors:
                files.write("model.safetensors", save_tensors(tensors))
            diagnostics = diagnostics_of(server)
            if diagnostics:
                files.write("diagnostics.json", diagnostics_text(diagnostics, server.roster).encode())
            summary["files"] = {table.file: self._marks[table.name]._asdict() for table in TABLES}
            self._export(files)
            files.write("summary.json", summary_to_bytes(summary))
        return self.result(server, summary)

    def _export(self, files: Folder) -> None:
        """The tables of a short run as lines of JSON too, for other programs: nothing here reads them back."""
        if sum(mark.lines for mark in self._marks.values()) <= EXPORTED:
            for table in TABLES:
                blocks_of = read_table(files.root, table, self._marks[table.name])
                text = "".join(json_lines(named(table, self.client_names), blocks_of))
                files.write(table.export, text.encode())

    def _rows(self, server: Server, round: int | None = None, part: str | None = None) -> Callable[[], list[Row]]:
        """Return a function that reads the rows of one round's model on one part, or all; it outlives the server."""
        if self.folder is None:
            return partial(_rows_of, server.plan.tasks, self._measured, round, part)
        return partial(_read, self.folder, METRICS, self._marks[METRICS.name], round, part)

    def _reader(self, table: Table, round: int | None = None) -> Callable[[], list[Row]]:
        """Return a function that reads the rows of ``measures``, ``confusion`` or ``training``."""
        if self.folder is None:
            return partial(_rows_from, table, self._blocks[table.name], round)
        return partial(_read, self.folder, table, self._marks[table.name], round)

    def result(self, server: Server, summary: dict[str, Any]) -> Result:
        if self.folder is None:
            make_ledger = partial(_rows_in, server.ledger)
        else:
            make_ledger = partial(_read, self.folder, LEDGER, self._marks[LEDGER.name])
        return Result(
            self._rows(server),
            make_ledger,
            summary,
            server.state,
            self.folder,
            diagnostics_of(server),
            self._reader(MEASURES),
            self._reader(CONFUSION),
            self._reader(TRAINING),
        )


def _best_file(round: int) -> str:
    return f"checkpoint/best-{round}.state"


def state_folder(experiment: Experiment, folder: Path | None, run: str) -> str | None:
    """Folder of a run's private state on this machine's nodes; None: in memory, it ends with the run."""
    if experiment.state_dir:
        return f"{experiment.state_dir}/{run}"
    return None if folder is None else str(folder / "checkpoint" / "clients")


def _rows_of(tasks: Mapping[str, Task], kept: list[PackedMetrics], round: int | None, part: str | None) -> list[Row]:
    some = [one for one in kept if round in (None, one.round) and part in (None, one.part)]
    return [row for one in some for row in rows(tasks, unpack_metrics(one))]


def _rows_from(table: Table, some: list[blocks.Block], round: int | None) -> list[Row]:
    return list(rows_in(table, (block for block in some if round in (None, block.shared["round"]))))


def _rows_in(ledger: Ledger) -> list[Row]:
    return [transfer._asdict() for transfer in ledger]


def _read_experiment(files: Folder) -> dict[str, Any]:
    """The settings with which a folder's run began."""
    try:
        return tomllib.loads(files.read("experiment.toml").decode())
    except (FileNotFoundError, ValueError) as error:
        why = "is gone" if isinstance(error, FileNotFoundError) else f"is damaged ({error})"
        raise ValueError(
            f"{str(files.path('experiment.toml'))!r} {why}, so nothing says how this run began; restore it, or give "
            "another folder (--out)."
        ) from None


def _read_summary(files: Folder) -> dict[str, Any]:
    try:
        return summary_from_bytes(files.read("summary.json"), files.path("summary.json"))
    except OtherFormat:
        raise
    except ValueError as error:
        raise ValueError(
            f"{str(files.path('summary.json'))!r} is damaged ({error}); delete it, and --resume writes it again from "
            "the checkpoint."
        ) from None


def _checked(note: Mapping[str, Any], rounds: int) -> Mapping[str, Any]:
    """Check that no number of a checkpoint's note is beyond those of a run of a number of rounds.

    Raises:
        ValueError, KeyError, TypeError: something else.
    """

    def count(what: str, value: Any, most: int = 2**62) -> None:
        if type(value) is not int or not 0 <= value <= most:
            raise ValueError(f"{what} is a whole number from 0 to {most}, got {str(value)[:40]}")

    count("round", note["round"], rounds + 1)
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


def _read_state(files: Folder, template: Any) -> tuple[Any, dict[str, Any]]:
    """The server's state and the checkpoint's note."""
    try:
        return state_from_bytes(files.read(CHECKPOINT), template)
    except StateError as error:
        raise StateError(
            f"{str(files.path(CHECKPOINT))!r}: {error} Restore the file, or begin anew in another folder (--out)."
        ) from None


def _last_updates(folder: Path, mark: Mark, server: Server) -> None:
    """From the ledger, the last round of which each client sent an update."""
    for block in read_table(folder, LEDGER, mark) if mark.bytes else ():
        columns = block.columns
        up, train = block.shared["directions"].index("up"), block.shared["purposes"].index("train")
        some = (columns["direction"] == up) & (columns["purpose"] == train) & (columns["packet_bytes"] > 0)
        clients, rounds = columns["client"][some], columns["round"][some]
        known = np.isin(clients, server.clients.clients)
        np.maximum.at(server.since, server.clients.rows(clients[known]), rounds[known])


def _read(folder: Path, table: Table, mark: Mark, round: int | None = None, part: str | None = None) -> list[Row]:
    """The rows of a table; of metrics also those of one round and one part alone."""
    some = read_table(folder, table, mark)
    if round is not None:
        some = (block for block in some if block.shared.get("round") == round)
    if part is not None:
        some = (block for block in some if block.shared.get("part", TEST) == part)
    return list(rows_in(table, some))


def _to_text(numbers: NDArray[Any], kind: str) -> str:
    return base64.b64encode(numbers.astype(kind).tobytes()).decode()


def _from_text(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), kind)
