"""A run as it grows: its rows, ledger and checkpoint, in memory, and in a folder when there is one.

Rows are appended, and the checkpoint, replaced in one step, says how many bytes of them belong to it: what a
killed run wrote after its last checkpoint is cut off when it is resumed.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import time
import tomllib
import uuid
from pathlib import Path
from typing import Any

import tomli_w
from safetensors.torch import save_file

from fedmtl.comm.ledger import Ledger, Transfer
from fedmtl.experiment import HOW, Experiment
from fedmtl.federation.server import Outcome, Server
from fedmtl.federation.store import state_from_bytes, state_to_bytes
from fedmtl.files import write_atomic
from fedmtl.results import Progress, Result, Row, mean_score, measure_rows, named_tensors, summarise, transfer_row


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
    """Keeps a run's rows, and writes them when there is a folder.

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
        self.rows: list[Row] = []
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
        self._training_seconds: dict[int, float] = {}
        self._written_transfers = 0
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
        note: dict[str, Any] = {
            "round": 0,
            "rounds_bytes": 0,
            "ledger_bytes": 0,
            "message_bytes": self.message_bytes,
            "seconds": {},
            "training_seconds": {},
        }
        if checkpoint.exists():
            server.state, note = state_from_bytes(checkpoint.read_bytes(), server.state)
        else:
            (self.folder / "checkpoint").mkdir(exist_ok=True)
            write_atomic(self.folder / "checkpoint" / "run", self.run.encode())
            write_atomic(self.folder / "environment.json", json.dumps(environment(), indent=2).encode())
            write_atomic(self.folder / "experiment.toml", tomli_w.dumps(self.experiment.to_dict()).encode())
        self.round = note["round"]
        self.seconds = note["seconds"]
        self.message_bytes = note["message_bytes"]
        self._training_seconds = {int(client): spent for client, spent in note["training_seconds"].items()}
        self.rows = _cut(self.folder / "rounds.jsonl", note["rounds_bytes"])
        self._score = mean_score(self.rows)
        transfers = _cut(self.folder / "ledger.jsonl", note["ledger_bytes"])
        server.ledger = Ledger(Transfer(**row) for row in transfers)
        self._written_transfers = len(transfers)
        if server.plan.central and self.round > 0:
            for path in sorted(self._gathered(self.folder).glob("*.packet")):
                server.gathered[int(path.stem)] = path.read_bytes()

    def record(self, round: int, server: Server, outcome: Outcome) -> Progress:
        """Keep what a round brought; with a folder, on disk before this returns."""
        start = time.perf_counter()
        rows = measure_rows(server.plan.tasks, outcome.measurements, self._training_seconds)
        self.rows += rows
        self._score = mean_score(rows) if rows else self._score
        if round <= server.rounds:
            self._training_seconds = outcome.seconds
        if self.folder is not None:
            self._write(self.folder, round, server, rows)
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

    def _write(self, folder: Path, round: int, server: Server, rows: list[Row]) -> None:
        if server.gathered and round == 1:
            self._gathered(folder).mkdir(parents=True, exist_ok=True)
            for client, packet in server.gathered.items():
                write_atomic(self._gathered(folder) / f"{client}.packet", packet)
        transfers = [transfer_row(t) for t in server.ledger.transfers[self._written_transfers :]]
        self._written_transfers = len(server.ledger.transfers)
        note = {
            "round": round,
            "rounds_bytes": _append(folder / "rounds.jsonl", rows),
            "ledger_bytes": _append(folder / "ledger.jsonl", transfers),
            "message_bytes": self.message_bytes,
            "seconds": self.seconds,
            "training_seconds": self._training_seconds,
        }
        write_atomic(self._checkpoint(folder), state_to_bytes(server.state, note))

    def add_seconds(self, phase: str, seconds: float) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def finish(self, server: Server) -> Result:
        """The result; with a folder, the summary and the model are written."""
        summary = summarise(self.experiment, server, self.rows, self.seconds, self.message_bytes)
        if self.folder is not None:
            tensors = named_tensors(server.state)
            if tensors:
                temporary = self.folder / ".model.safetensors"
                save_file(tensors, temporary)
                os.replace(temporary, self.folder / "model.safetensors")
            write_atomic(self.folder / "summary.json", json.dumps(summary, indent=2).encode())
        return self.result(server, summary)

    def result(self, server: Server, summary: dict[str, Any]) -> Result:
        ledger = [transfer_row(transfer) for transfer in server.ledger.transfers]
        return Result(self.rows, ledger, summary, server.state, self.folder)


def _append(path: Path, rows: list[Row]) -> int:
    """Append lines, and say how long the file is then."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _cut(path: Path, length: int) -> list[Row]:
    """Cut a file to the length that a checkpoint knows, and read it."""
    path.touch()
    if path.stat().st_size < length:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, but the checkpoint counts {length}: lines were lost; restore the "
            "file, or begin anew in another folder."
        )
    os.truncate(path, length)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
