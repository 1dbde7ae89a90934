"""Every client's personal model, from the folder of a finished run.

The server's last state is broadcast once more, coded as the run coded it, and each client's private state is read from
where its node saved it: the client's predictions are those that the run measured at its end. One thing may differ where
a part of the clients is chosen: clients with equal broadcasts share one packet, and the codec's randomness is that of
the first of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.client.client_pool import ClientPool
from fedmtl.client.data_shard import shard_of
from fedmtl.client.state.base import StateStore
from fedmtl.client.state.encoding import state_from_bytes
from fedmtl.client.state.files import FileBackend, VersionedFileStore
from fedmtl.core.files import Folder
from fedmtl.core.toml import read_toml
from fedmtl.core.trees import tree_leaves, tree_stack
from fedmtl.core.types import Batch, ClientId, Params, Payload, TaskSet
from fedmtl.data.joined import some_of
from fedmtl.data.roster import Roster
from fedmtl.engines.base import Cohort, TaskPadding
from fedmtl.engines.device import one_thread
from fedmtl.engines.loop import run_one
from fedmtl.export.mixture import apart, flat
from fedmtl.models.split import mixed_sums_fn, sums_fn
from fedmtl.protocol.best_round import NO_ROUND
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.requests import Requests
from fedmtl.registry.allowed import beside
from fedmtl.runs.checkpoint import CHECKPOINT, state_folder
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.run_folder import read_word
from fedmtl.runs.summary import summary_from_bytes
from fedmtl.runtime.node import make_store
from fedmtl.server.broadcast import broadcasts
from fedmtl.server.sampling import cohort_size, sample
from fedmtl.tasks.base import Task

Sums = Mapping[str, Tensor]
"""Task -> the sums of its metric over a client's test examples."""


class ClientModel(NamedTuple):
    """A client's model, or the several models that it mixes, see ``mixture``."""

    client: ClientId
    params: Params
    measure: Callable[[Params], Sums]
    """Any parameters, on this client's test examples."""


UseModel = Callable[[ClientModel], Sums]
"""Function of a personal model; it returns one of the model's measurements."""


class FinishedRun(NamedTuple):
    """Finished run whose models were rebuilt."""

    tasks: Mapping[str, Task]
    rounds: int
    """Rounds of training behind the models."""
    absent: frozenset[ClientId]
    """Clients that trained, and whose private state is not here: their models do not count."""


def for_each_client_model(
    folder: Path, use: UseModel, clients: int = 0, state: Path | None = None, allow: Iterable[str] = ()
) -> FinishedRun:
    """Rebuild personal models one by one.

    Args:
        folder: of a finished run.
        use: called for each client that has a test example, in no particular order.
        clients: how many, drawn by the run's seed; 0 for all.
        state: a node's state folder (``state-dir``), where private states are kept outside the run folder.
        allow: modules that components of the run may come from besides fedmtl: a run folder is not a program.

    Raises:
        FileNotFoundError: no run folder.
        ValueError: too many clients, or no private state of any.
    """
    files, written = Folder(folder), folder / "experiment.toml"
    for name in (written.name, "summary.json", CHECKPOINT):
        if not files.exists(name):
            raise FileNotFoundError(
                f"{folder} is not a finished run: {name} is missing; make one with "
                f"`fedmtl run … --out {folder}`, or finish it with --resume."
            )
    files.names("checkpoint/clients")  # refuses a link
    # A state_dir is no reason to refuse it: nothing is made there, see ``ReadOnlyStore``, and no cluster is joined.
    experiment = from_dict(read_toml(written), str(written), beside(written, allow))
    run = read_word(folder)
    federation = experiment.load()
    schema = federation.schema
    plan = experiment.make_plan(schema)
    server, _ = state_from_bytes(files.read(CHECKPOINT), plan.first_server(schema.owners))
    roster = Roster(schema.owners)
    if not 0 <= clients <= len(roster.clients):
        raise ValueError(f"clients is 0 for all, or at most the {len(roster.clients)} that there are, got {clients}.")
    count = clients or len(roster.clients)
    rounds = experiment.rounds
    if experiment.valid_fraction:  # the run's result is its best round
        rounds = int(summary_from_bytes(files.read("summary.json"), folder / "summary.json")["stopped"]["best_round"])
    exchange = Exchange(number=rounds + 1, version=rounds, measure=True, last=True)
    chosen = sample(plan.seed, exchange.number, roster.clients, count)
    packets = broadcasts(plan, server, roster, exchange, chosen)
    nothing = np.zeros(count, bool)
    requests = Requests(exchange, chosen, packets, ~nothing, nothing, nothing)
    if state is None:
        place = Path(state_folder(experiment, folder, run) or "")
        store = ReadOnlyStore(place, roster.clients, lambda: make_store(experiment, schema, str(place)))
    else:
        place = state / run
        store = ReadOnlyStore(place, roster.clients, lambda: VersionedFileStore(FileBackend(place)))
    shard = shard_of(some_of(federation.clients, chosen))
    ClientPool(plan, shard, ModelEngine(plan, use)).handle(requests, store)
    trained = _trained(experiment, plan, roster.clients, rounds)
    absent = frozenset(client for client in store.absent if client in trained)
    if len(absent) == count:
        raise ValueError(
            f"The private state of {plan.algorithm!r} is not in {str(place)!r}, where this run would keep it: it is on "
            "the machines that trained. Shrink there, with --state DIR for a device's state-dir, or copy its files."
        )
    return FinishedRun(plan.tasks, rounds, absent)


def _trained(experiment: Experiment, plan: Plan, clients: NDArray[np.int64], rounds: int) -> frozenset[ClientId]:
    """Clients of any cohort; the others have their first state, which no node saves."""
    if plan.algorithm.traits.centralized:
        return frozenset()
    size = cohort_size(experiment.cohort, len(clients))
    cohorts = (sample(plan.seed, round, clients, size).tolist() for round in range(1, rounds + 1))
    return frozenset().union(*cohorts)


class ReadOnlyStore:
    """A run's store, to read: it makes no file that is not there."""

    def __init__(self, folder: Path, clients: NDArray[np.int64], make: Callable[[], StateStore]) -> None:
        self.absent: set[ClientId] = set()
        """Clients without a state in the folder."""
        self._folder = folder
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
        versions = self._folder / f"{kind}.versions"
        if versions.is_file():
            kept = np.fromfile(versions, np.int64) > 0
            return kept[np.searchsorted(self._clients, clients)]
        return np.array([any((self._folder / f"{client}").glob("*.state")) for client in clients.tolist()])

    def save_rows(self, kind: str, clients: NDArray[np.int64], version: int, states: Any, keep: int = NO_ROUND) -> None:
        raise RuntimeError("No client trains after a run; this is a mistake of the program.")


class ModelEngine:
    """An engine that hands each client's personal model to ``use``, instead of measuring it alone."""

    def __init__(self, plan: Plan, use: UseModel) -> None:
        self._plan = plan
        self._use = use

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        with one_thread():
            return [tree_stack(list(self._results(cohort))) for cohort in cohorts]

    def _results(self, cohort: Cohort) -> Iterator[Sums]:
        predicts = cohort._replace(function=lambda down, private, batches, ctx: _predictor(self._plan, down, private))
        measure_on = _measure(self._plan, cohort.owned)
        for k, client in enumerate(cohort.clients):
            batches = [{name: value[0] for name, value in batch.items()} for batch in cohort.batches(np.array([k]))]
            yield self._use(ClientModel(int(client), run_one(predicts, k), partial(measure_on, batches)))


def _predictor(plan: Plan, down: Payload, private: Any) -> Params:
    """Return all numbers of a client's predictor."""
    if plan.mixture is not None:
        return flat(*plan.mixture(down, private))
    return plan.algorithm.personal_params(down, private)


def _measure(plan: Plan, owned: TaskSet) -> Callable[[Sequence[Batch], Params], Sums]:
    """(batches, what ``_predictor`` gave) -> task -> the sums of its metric, as ``Plan.measure`` has them."""
    sums, mixed = sums_fn(plan.module, plan.tasks, owned), None
    if plan.mixture is not None:
        mixed = mixed_sums_fn(plan.module, plan.tasks, owned)

    def measure(batches: Sequence[Batch], params: Params) -> Sums:
        parts = [sums(params, batch) if mixed is None else mixed(*apart(params), batch) for batch in batches]
        return {task: torch.stack([part[task] for part in parts]).sum(0) for task in owned}

    return measure
