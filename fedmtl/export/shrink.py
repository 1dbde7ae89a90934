"""What small models cost: each client's, in every form, on its own test examples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedmtl.core.files import Folder
from fedmtl.core.types import ClientId
from fedmtl.export.client_models import Personal, Sums, look_at_personal
from fedmtl.export.formats import FORMS, Form, load, save
from fedmtl.runs.columns import Measured
from fedmtl.runs.run_folder import claim
from fedmtl.tasks.base import Task


@dataclass(frozen=True)
class Small:
    """All personal models in one form."""

    form: Form
    bytes: Mapping[ClientId, int]
    """Client -> length of its file."""
    measured: Measured
    """Their metrics, each of the model that was read back from its file."""


@dataclass(frozen=True)
class Shrunk:
    """The models of a run, made small."""

    tasks: Mapping[str, Task]
    smalls: tuple[Small, ...]
    """One for each form, in order."""
    absent: frozenset[ClientId]
    """Clients that were left out, because their private state is elsewhere."""


def shrink(
    folder: Path,
    forms: Sequence[Form] = FORMS,
    clients: int = 0,
    state: Path | None = None,
    export: Path | None = None,
    allow: Iterable[str] = (),
) -> Shrunk:
    """Make the personal models of a finished run small, and measure what is left of them.

    Args:
        folder: of the run.
        forms: in which they are kept; the first is what others are compared with.
        clients: how many, drawn by the run's seed; 0 for all. Those without a test example are left out.
        state: a node's state folder, where private states are kept outside the run folder.
        export: keep the files, ``<client>/<form>.small``, in this folder.
        allow: modules that components of the run may come from besides fedmtl.

    Raises:
        ValueError: no form, a run that is not finished, or whose private states are elsewhere.
        OSError: no run folder, or a folder that cannot be written.
    """
    if not forms:
        raise ValueError("Models are made small in one form at least, got none; FORMS is the usual choice.")
    lengths: list[dict[ClientId, int]] = [{} for _ in forms]
    found: list[dict[ClientId, Sums]] = [{} for _ in forms]

    if export is not None:
        export.mkdir(parents=True, exist_ok=True)
        claim(export, [f"*/{form.name}.small" for form in forms])

    def look(personal: Personal) -> Sums:
        for form, length, sums in zip(forms, lengths, found, strict=True):
            data = save(personal.params, form)
            if export is not None:
                Folder(export).make(f"{personal.client}")
                Folder(export).write(f"{personal.client}/{form.name}.small", data, fsync=False)
            length[personal.client] = len(data)
            sums[personal.client] = personal.measure(load(data))
        return found[0][personal.client]

    run = look_at_personal(folder, look, clients, state, allow)
    here = sorted(found[0].keys() - run.absent)
    if not here:
        raise ValueError(f"No client of {folder} has a test example, so nothing says what its model is worth.")
    smalls = [
        Small(form, {client: length[client] for client in here}, _measured(run.rounds, here, sums))
        for form, length, sums in zip(forms, lengths, found, strict=True)
    ]
    return Shrunk(run.tasks, tuple(smalls), run.absent)


def _measured(rounds: int, clients: Sequence[ClientId], sums: Mapping[ClientId, Sums]) -> Measured:
    """By task, as a run's rows are made of it."""
    by_task = {}
    for task in sorted({task for client in clients for task in sums[client]}):
        owners = [client for client in clients if task in sums[client]]
        by_task[task] = np.array(owners, np.int64), np.stack([sums[client][task].numpy() for client in owners])
    return Measured(rounds, by_task, np.zeros(0, np.int64), np.zeros(0))
