"""Cost of small models: each client's, in every format, on its own test examples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedmtl.core.files import Folder
from fedmtl.core.types import ClientId
from fedmtl.export.client_models import ClientModel, Sums, for_each_client_model
from fedmtl.export.formats import MODEL_FORMATS, ModelFormat, load, save
from fedmtl.runs.columns import RoundMetrics
from fedmtl.runs.run_folder import claim
from fedmtl.tasks.base import Task


@dataclass(frozen=True)
class Small:
    """All personal models in one format."""

    format: ModelFormat
    bytes: Mapping[ClientId, int]
    """Client -> length of its file."""
    measured: RoundMetrics
    """Their metrics, each of the model that was read back from its file."""


@dataclass(frozen=True)
class Shrunk:
    """The models of a run, made small."""

    tasks: Mapping[str, Task]
    smalls: tuple[Small, ...]
    """One for each format, in order."""
    absent: frozenset[ClientId]
    """Clients that were left out, because their private state is elsewhere."""


def shrink(
    folder: Path,
    formats: Sequence[ModelFormat] = MODEL_FORMATS,
    clients: int = 0,
    state: Path | None = None,
    export: Path | None = None,
    allow: Iterable[str] = (),
) -> Shrunk:
    """Make the personal models of a finished run small, and measure what is left of them.

    Args:
        folder: of the run.
        formats: the first is the one that others are compared with.
        clients: how many, drawn by the run's seed; 0 for all. Those without a test example are left out.
        state: a node's state folder, where private states are kept outside the run folder.
        export: keep the files, ``<client>/<format>.small``, in this folder.
        allow: modules that components of the run may come from besides fedmtl.

    Raises:
        ValueError: no format, a run that is not finished, or whose private states are elsewhere.
        OSError: no run folder, or a folder that cannot be written.
    """
    if not formats:
        raise ValueError("Models are made small in one format at least, got none; MODEL_FORMATS is the usual choice.")
    lengths: list[dict[ClientId, int]] = [{} for _ in formats]
    found: list[dict[ClientId, Sums]] = [{} for _ in formats]

    if export is not None:
        export.mkdir(parents=True, exist_ok=True)
        claim(export, [f"*/{model_format.name}.small" for model_format in formats])

    def shrink_one(personal: ClientModel) -> Sums:
        for model_format, length, sums in zip(formats, lengths, found, strict=True):
            data = save(personal.params, model_format)
            if export is not None:
                Folder(export).make(f"{personal.client}")
                Folder(export).write(f"{personal.client}/{model_format.name}.small", data, fsync=False)
            length[personal.client] = len(data)
            sums[personal.client] = personal.measure(load(data))
        return found[0][personal.client]

    run = for_each_client_model(folder, shrink_one, clients, state, allow)
    here = sorted(found[0].keys() - run.absent)
    if not here:
        raise ValueError(f"No client of {folder} has a test example, so its models cannot be measured.")
    smalls = [
        Small(model_format, {client: length[client] for client in here}, _measured(run.rounds, here, sums))
        for model_format, length, sums in zip(formats, lengths, found, strict=True)
    ]
    return Shrunk(run.tasks, tuple(smalls), run.absent)


def _measured(rounds: int, clients: Sequence[ClientId], sums: Mapping[ClientId, Sums]) -> RoundMetrics:
    """By task, as a run's rows are made of it."""
    by_task = {}
    for task in sorted({task for client in clients for task in sums[client]}):
        owners = [client for client in clients if task in sums[client]]
        by_task[task] = np.array(owners, np.int64), np.stack([sums[client][task].numpy() for client in owners])
    return RoundMetrics(rounds, by_task, np.zeros(0, np.int64), np.zeros(0))
