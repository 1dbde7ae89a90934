"""A finished run, read from its folder: experiment, plan, the server's last state, and where private states are."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from fedmtl.client.state.base import StateStore
from fedmtl.client.state.encoding import state_from_bytes
from fedmtl.client.state.files import FileBackend, VersionedFileStore
from fedmtl.core.files import Folder
from fedmtl.core.toml import read_toml
from fedmtl.core.trees import tree_leaves
from fedmtl.core.types import ClientId
from fedmtl.data.base import Federation, Schema
from fedmtl.data.recipe import TableRecipe, recipe_from_json
from fedmtl.protocol.best_round import NO_ROUND
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.reference import Reference
from fedmtl.registry.allowed import beside
from fedmtl.runs.checkpoint import CHECKPOINT, state_folder
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.references_file import read_references
from fedmtl.runs.run_folder import read_word
from fedmtl.runs.schema_file import SCHEMA, read_schema
from fedmtl.runs.summary import summary_from_bytes
from fedmtl.runtime.node import make_store
from fedmtl.server.sampling import cohort_size, sample

RECIPE = "recipe.json"
"""The recipe of a run's table, in its folder."""


class Finished(NamedTuple):
    """A run that has ended."""

    experiment: Experiment
    schema: Schema
    plan: Plan
    server: Any
    """The server's last state, or the best on validation parts."""
    version: int
    """Rounds of training behind the model that is the run's result."""
    store: StateStore | None
    """Private states; None where they are on other machines."""
    recipe: TableRecipe | None = None
    """The way from rows of the table that the data is of to inputs; None where it is of no table."""
    federation: Federation | None = None
    """The data, where it was asked for."""
    references: Mapping[str, Reference] = {}
    """Models that clients hold, where broadcasts are changes of them."""

    @property
    def absent(self) -> frozenset[ClientId]:
        """Clients that trained, and whose private state was looked for and is not there."""
        missing = self.store.absent if isinstance(self.store, ReadOnlyStore) else None
        return frozenset(missing & trained(self)) if missing else frozenset()

    def refuse_absent(self) -> NoReturn:
        """Refuse to go on without private states.

        Raises:
            ValueError: it says where they would be, and the way out.
        """
        if not isinstance(self.store, ReadOnlyStore):
            raise ValueError(
                f"The private states of {self.plan.algorithm!r} were on the machines that trained, and went with the "
                "run; give it a folder, run(experiment, out)."
            )
        raise ValueError(
            f"The private state of {self.plan.algorithm!r} is not in {str(self.store.folder)!r}, where this run would "
            "keep it: it is on the machines that trained. Run this command there, with --state DIR for a device's "
            "state-dir, or copy its files."
        )


def read_finished(
    folder: Path,
    allow: Iterable[str] = (),
    state: Path | None = None,
    experiment: Experiment | None = None,
    with_data: bool = False,
) -> Finished:
    """Read a finished run.

    Args:
        folder: of the run.
        allow: modules that components of the run may come from besides fedmtl: a run folder is not a program.
        state: a node's state folder (``state-dir``), where private states are kept outside the run folder.
        experiment: of the run, where it has components that no file names; None: the one in the folder.
        with_data: load the data, too; without it, a run is read whose data cannot be loaded again.

    Raises:
        FileNotFoundError: no run folder, or a run that is not finished.
        ValueError: a file that is damaged, or a component that is not allowed or was passed as an object.
    """
    files, written = Folder(folder), folder / "experiment.toml"
    for name in (written.name, "summary.json", CHECKPOINT):
        if not files.exists(name):
            raise FileNotFoundError(
                f"{folder} is not a finished run: {name} is missing; make one with "
                f"`fedmtl run … --out {folder}`, or finish it with --resume."
            )
    files.names("checkpoint/clients")  # refuses a link
    allowed = beside(written, allow)
    needs_data = with_data or not files.exists(SCHEMA)
    if experiment is None:
        # A state_dir is no reason to refuse it: nothing is made there, see ``ReadOnlyStore``, and no cluster is joined.
        values = read_toml(written)
        given = values if needs_data else {**values, "data": NotLoaded()}
        experiment = from_dict(given, str(written), allowed)
    run = read_word(folder)
    federation = experiment.load() if needs_data else None
    schema = read_schema(files, allowed) if federation is None else federation.schema
    assert schema is not None
    plan = experiment.make_plan(schema)
    server, note = state_from_bytes(files.read(CHECKPOINT), plan.first_server(schema.owners))
    version = experiment.rounds
    if experiment.valid_fraction:  # the run's result is its best round
        version = int(summary_from_bytes(files.read("summary.json"), folder / "summary.json")["stopped"]["best_round"])
    if state is None:
        store = store_in(Path(state_folder(experiment, folder, run) or ""), experiment, schema)
    else:
        place = state / run
        store = ReadOnlyStore(place, schema.owners.clients, lambda: VersionedFileStore(FileBackend(place)))
    recipe = None
    if files.exists(RECIPE):
        recipe = recipe_from_json(files.read(RECIPE).decode(errors="replace"), str(folder / RECIPE))
    held = read_references(files, note, plan, schema.owners) if plan.down_codec.traits.delta_only else {}
    return Finished(experiment, schema, plan, server, version, store, recipe, federation, held)


def store_in(place: Path, experiment: Experiment, schema: Schema) -> "ReadOnlyStore":
    """Return the private states in a folder that the run's nodes wrote."""
    return ReadOnlyStore(place, schema.owners.clients, lambda: make_store(experiment, schema, str(place)))


@dataclass(frozen=True)
class NotLoaded:
    """Stands for the data of a run that is read without it."""

    def load(self, seed: int) -> Federation:
        raise RuntimeError("A run that is read without its data has none to load; this is a mistake of the program.")


def trained(run: Finished) -> frozenset[ClientId]:
    """Return the clients of any cohort; the others have their first state, which no node saves."""
    if run.plan.algorithm.traits.centralized:
        return frozenset()
    clients = run.schema.owners.clients
    size = cohort_size(run.experiment.cohort, len(clients))
    cohorts = (sample(run.plan.seed, round, clients, size).tolist() for round in range(1, run.version + 1))
    return frozenset().union(*cohorts)


class ReadOnlyStore:
    """A run's store, to read: it makes no file that is not there."""

    def __init__(self, folder: Path, clients: NDArray[np.int64], make: Callable[[], StateStore]) -> None:
        self.absent: set[ClientId] = set()
        """Clients without a state in the folder."""
        self.folder = folder
        self._clients = clients
        self._make = make

    @cached_property
    def _store(self) -> StateStore:
        return self._make()

    def load_rows(
        self,
        kind: str,
        clients: NDArray[np.int64],
        version: int,
        first: Callable[[NDArray[np.int64]], Any],
        since: NDArray[np.int64] | None = None,
    ) -> Any:
        """As in ``StateStore``."""
        if not tree_leaves(first(np.arange(1))["private"]):  # what codecs remember is of no use here
            return first(np.arange(len(clients)))
        here = self._here(kind, clients)
        self.absent.update(clients[~here].tolist())
        return self._store.load_rows(kind, clients, version, first) if here.any() else first(np.arange(len(clients)))

    def _here(self, kind: str, clients: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[K] mask of clients with a state: a row of ``MmapStateStore``, or a file of ``FileBackend``."""
        versions = self.folder / f"{kind}.versions"
        if versions.is_file():
            kept = np.fromfile(versions, np.int64) > 0
            return kept[np.searchsorted(self._clients, clients)]
        return np.array([any((self.folder / f"{client}").glob("*.state")) for client in clients.tolist()])

    def save_rows(self, kind: str, clients: NDArray[np.int64], version: int, states: Any, keep: int = NO_ROUND) -> None:
        raise RuntimeError("No client trains after a run; this is a mistake of the program.")
