"""TensorBoard: a run's curves as an event file, whose scalars are float32."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmtl.callbacks.base import RunInfo, package
from fedmtl.callbacks.scalars import Scalar, scalars, summary_scalars
from fedmtl.core.files import Folder
from fedmtl.tables.schemas import Row

EVENTS = "events.out.tfevents.*.fedmtl"
"""Event files of this callback, which a resumed run writes anew."""


@dataclass(frozen=True)
class TensorBoard:
    """Event file for TensorBoard in the run's folder, shown by tensorboard --logdir runs."""

    logdir: str = ""
    """Folder, with a folder for each run in it; empty: ``tensorboard`` in the run's own, or in the current one."""
    clients: bool = True
    """True where each client has curves of its own, beside those over all clients."""

    def start(self, run: RunInfo) -> Any:
        writers = package("torch.utils.tensorboard", "TensorBoard", "tensorboard")
        folder = self._folder(run)
        for path in folder.glob(EVENTS):
            path.unlink()
        writer = writers.SummaryWriter(str(folder), filename_suffix=".fedmtl")
        writer.add_text("experiment", _code(run.experiment))
        writer.flush()
        return writer

    def _folder(self, run: RunInfo) -> Path:
        if self.logdir or run.folder is None:
            return Path(self.logdir or "tensorboard") / f"{run.name}-{run.id[:8]}"
        return Folder(run.folder).make("tensorboard")

    def rows(self, writer: Any, table: str, rows: Sequence[Row]) -> None:
        _add(writer, scalars(table, rows, self.clients))

    def end(self, writer: Any, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            _add(writer, summary_scalars(summary))
            writer.add_text("summary", _code(summary))
        writer.close()


def _add(writer: Any, points: Iterable[Scalar]) -> None:
    for tag, step, value in points:
        writer.add_scalar(tag, value, step)
    writer.flush()


def _code(values: Mapping[str, Any]) -> str:
    """JSON as a code block of Markdown, in which TensorBoard shows text."""
    return "\n".join(f"    {line}" for line in json.dumps(values, indent=2, default=str).splitlines())
