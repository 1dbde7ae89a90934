"""A run as it grows: its rows, ledger and checkpoint, in memory, and in a folder when there is one.

Rows are appended, and the checkpoint, replaced in one step, says how many bytes of them belong to it: what a
killed run wrote after its last checkpoint is cut off when it is resumed.
"""

import base64
import importlib.metadata
import json
import os
import platform
import shutil
import time
import tomllib
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray
from safetensors.torch import save_file

from fedmtl.comm import blocks
from fedmtl.comm.blocks import Mark
from fedmtl.comm.ledger import Ledger
from fedmtl.comm.tables import LEDGER, METRICS, TABLES, Row, Table, json_lines, read_table
from fedmtl.comm.tables import rows as rows_in
from fedmtl.experiment import HOW, Experiment
from fedmtl.federation.outcome import Outcome
from fedmtl.federation.rows import Kept, Measured, by_task, digest, keep, mean_score, rows, unkeep
from fedmtl.federation.rows import blocks as metric_blocks
from fedmtl.federation.server import Server
from fedmtl.federation.store import state_from_bytes, state_to_bytes
from fedmtl.files import write_atomic
from fedmtl.results import Progress, Result, learnt_of, learnt_text, named_tensors, summarise
from fedmtl.tasks.base import Task

EXPORTED = 100_000
"""Lines of a run, metrics and ledger together, up to which it leaves them as JSON too when it ends."""


def environment() -> dict[str, Any]:
    """What a run ran on: versions and the machine's kind."""
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

    Raises:
        ValueError: the folder holds a run and ``resume`` is false, or it holds a run of another experiment.
        OSError: the folder cannot be written.
    """

    def __init__(self, experiment: Experiment, folder: str | Path | None, resume: bool = False) -> None:
        self.experiment = experiment
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
        """Tells this run's private state from that of others; a resumed run keeps it."""
        self._trained: NDArray[Any] = np.zeros(0, np.int64)
        self._training_seconds: NDArray[Any] = np.zeros(0)
        """Who trained in the round that is done, and how long: rows of its model say it one round later."""
        self._measured: list[Kept] = []
        """What was measured, when there is no folder."""
        self._marks = {table.name: Mark() for table in TABLES}
        """How far the files of the tables belong to the run."""
        self._rows_digest = ""
        self._score = float("nan")
        if self.folder is not None:
            self._prepare(self.folder, resume)

    def _prepare(self, folder: Path, resume: bool) -> None:
        """Check the folder before anything is written. One without a finished round holds no run."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / ".writable", b"")
            (folder / ".writable").unlink()
        except OSError as error:
            raise type(error)(
                error.errno,
                f"The run folder {str(folder)!r} cannot be written ({error.strerror}); give another (--out)",
            ) from None
        if not self._checkpoint(folder).exists():
            if (folder / "summary.json").exists():
                raise ValueError(
                    f"{str(folder)!r} holds a run that is finished and whose checkpoint is gone; give another folder "
                    "(--out), or delete it."
                )
            if (folder / "checkpoint" / "run").exists():  # a run of ours, ended before its first round did
                for leftover in ("clients", "gathered"):
                    shutil.rmtree(folder / "checkpoint" / leftover, ignore_errors=True)
            return
        if not resume:
            raise ValueError(f"{str(folder)!r} holds a run; resume it (--resume), or give another folder (--out).")
        before = tomllib.loads((folder / "experiment.toml").read_text())
        now = tomllib.loads(tomli_w.dumps(self.experiment.to_dict()))
        for key in sorted((before.keys() | now.keys()) - set(HOW)):
            if repr(before.get(key)) != repr(now.get(key)):  # a cohort of 1 is not one of 1.0
                raise ValueError(
                    f"{str(folder)!r} holds a run with {key} = {before.get(key)!r}, got {now.get(key)!r}: a run "
                    "resumes with the experiment that it began with; give another folder (--out) for another."
                )
        self.run = (folder / "checkpoint" / "run").read_text()
        if (folder / "summary.json").exists():
            self.finished = json.loads((folder / "summary.json").read_text())

    @staticmethod
    def _checkpoint(folder: Path) -> Path:
        return folder / "checkpoint" / "server.state"

    @property
    def state_folder(self) -> str | None:
        """Where nodes of this machine keep private state."""
        if self.experiment.state_dir:
            return f"{self.experiment.state_dir}/{self.run}"
        return None if self.folder is None else str(self.folder / "checkpoint" / "clients")

    def _gathered(self, folder: Path) -> Path:
        return folder / "checkpoint" / "gathered"

    def restore(self, server: Server) -> None:
        """Put the server, its ledger and the rows where the checkpoint left them; at the start when there is none."""
        if self.folder is None:
            return
        checkpoint = self._checkpoint(self.folder)
        if checkpoint.exists():
            server.state, note = state_from_bytes(checkpoint.read_bytes(), server.state)
            self._go_on(note, server)
        else:
            (self.folder / "checkpoint").mkdir(exist_ok=True)
            write_atomic(self.folder / "checkpoint" / "run", self.run.encode())
            write_atomic(self.folder / "environment.json", json.dumps(environment(), indent=2).encode())
            write_atomic(self.folder / "experiment.toml", tomli_w.dumps(self.experiment.to_dict()).encode())
        for table in TABLES:
            blocks.cut(self.folder / table.file, self._marks[table.name])
        if server.plan.central and self.round > 0:
            for path in sorted(self._gathered(self.folder).glob("*.packet")):
                server.gathered[int(path.stem)] = path.read_bytes()

    def _go_on(self, note: Mapping[str, Any], server: Server) -> None:
        """From what ``_write`` noted."""
        if "marks" not in note:
            raise ValueError(
                f"{str(self.folder)!r} holds a run of an earlier fedmtl; finish it with that version, or begin anew in "
                "another folder (--out)."
            )
        server.ledger = Ledger.restore(note["ledger"])
        self.round = note["round"]
        self.seconds = note["seconds"]
        server.rejected.update(note.get("rejected", {}))
        self.message_bytes = note["message_bytes"]
        self._trained = _from_text(note["trained"], "<i8")
        self._training_seconds = _from_text(note["training_seconds"], "<f8")
        self._marks = {name: Mark(*mark) for name, mark in note["marks"].items()}
        self._rows_digest = note["rows_digest"]
        self._score = float("nan") if note["score"] is None else note["score"]

    def record(self, round: int, server: Server, outcome: Outcome) -> Progress:
        """Keep what a round brought; with a folder, on disk before this returns."""
        start = time.perf_counter()
        measured = by_task(outcome.measurements, self._trained, self._training_seconds)
        if measured is not None:
            self._score = mean_score(server.plan.tasks, measured)
            self._rows_digest = digest(self._rows_digest, measured)
        if round <= server.rounds:
            self._trained, self._training_seconds = outcome.trained, outcome.seconds
        if self.folder is not None:
            self._write(self.folder, round, server, measured)
        elif measured is not None:
            self._measured.append(keep(measured))
        self.round = round
        self.add_seconds("write", time.perf_counter() - start)
        return Progress(
            round=round,
            rounds=server.rounds,
            mean_score=self._score,
            bytes_up=server.ledger.total("up", ("train", "gather")),
            bytes_down=server.ledger.total("down", ("train", "gather")),
            problems=outcome.problems,
        )

    def _write(self, folder: Path, round: int, server: Server, measured: Measured | None) -> None:
        if server.gathered and round == 1:
            self._gathered(folder).mkdir(parents=True, exist_ok=True)
            for client, packet in server.gathered.items():
                write_atomic(self._gathered(folder) / f"{client}.packet", packet)
        if measured is not None:
            self._append(folder, METRICS, metric_blocks(server.plan.tasks, measured))
        self._append(folder, LEDGER, server.ledger.blocks())
        server.ledger.forget()
        note = {
            "round": round,
            "marks": self._marks,
            "rows_digest": self._rows_digest,
            "score": None if np.isnan(self._score) else self._score,
            "ledger": server.ledger.note(),
            "message_bytes": self.message_bytes,
            "seconds": self.seconds,
            "rejected": dict(server.rejected),
            "trained": _to_text(self._trained, "<i8"),
            "training_seconds": _to_text(self._training_seconds, "<f8"),
        }
        write_atomic(self._checkpoint(folder), state_to_bytes(server.state, note))

    def _append(self, folder: Path, table: Table, some: list[blocks.Block]) -> None:
        self._marks[table.name] = blocks.append(folder / table.file, self._marks[table.name], some)

    def add_seconds(self, phase: str, seconds: float) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def finish(self, server: Server) -> Result:
        """The result; with a folder, the summary and the model are written."""
        last = self._rows(server, server.rounds)()
        summary = summarise(
            self.experiment, server, last, self._score, self._rows_digest, self.seconds, self.message_bytes
        )
        if self.folder is not None:
            tensors = named_tensors(server.state)
            if tensors:
                temporary = self.folder / ".model.safetensors"
                save_file(tensors, temporary)
                os.replace(temporary, self.folder / "model.safetensors")
            learnt = learnt_of(server)
            if learnt:
                write_atomic(self.folder / "learnt.json", learnt_text(learnt, server.roster).encode())
            summary["files"] = {table.file: self._marks[table.name]._asdict() for table in TABLES}
            self._export(self.folder)
            write_atomic(self.folder / "summary.json", json.dumps(summary, indent=2).encode())
        return self.result(server, summary)

    def _export(self, folder: Path) -> None:
        """The tables of a short run as lines of JSON too, for other programs: nothing here reads them back."""
        if sum(mark.lines for mark in self._marks.values()) <= EXPORTED:
            for table in TABLES:
                text = "".join(json_lines(table, read_table(folder, table, self._marks[table.name])))
                write_atomic(folder / table.export, text.encode())

    def _rows(self, server: Server, round: int | None = None) -> Callable[[], list[Row]]:
        """What gives the rows of one round's model, or all; it outlives the server."""
        if self.folder is None:
            return partial(_rows_of, server.plan.tasks, self._measured, round)
        return partial(_read, self.folder, METRICS, self._marks[METRICS.name], round)

    def result(self, server: Server, summary: dict[str, Any]) -> Result:
        if self.folder is None:
            make_ledger = partial(_rows_in, server.ledger)
        else:
            make_ledger = partial(_read, self.folder, LEDGER, self._marks[LEDGER.name])
        return Result(self._rows(server), make_ledger, summary, server.state, self.folder, learnt_of(server))


def _rows_of(tasks: Mapping[str, Task], kept: list[Kept], round: int | None) -> list[Row]:
    return [row for one in kept if round in (None, one.round) for row in rows(tasks, unkeep(one))]


def _rows_in(ledger: Ledger) -> list[Row]:
    return [transfer._asdict() for transfer in ledger]


def _read(folder: Path, table: Table, mark: Mark, round: int | None = None) -> list[Row]:
    """The rows of a table; of metrics also those of one round alone."""
    some = read_table(folder, table, mark)
    return list(rows_in(table, (block for block in some if round in (None, block.shared.get("round")))))


def _to_text(numbers: NDArray[Any], kind: str) -> str:
    return base64.b64encode(numbers.astype(kind).tobytes()).decode()


def _from_text(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), kind)
