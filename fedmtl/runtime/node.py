"""Client pool and state store of a Flower node, from objects or from the node's configuration."""

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Context, UserConfig
from numpy.typing import NDArray

from fedmtl.client.client_pool import ClientPool
from fedmtl.client.data_shard import Shard, shard_of
from fedmtl.client.state.base import StateStore
from fedmtl.client.state.files import FileBackend, VersionedFileStore
from fedmtl.client.state.mmap import MmapStateStore
from fedmtl.core.files import Folder
from fedmtl.core.types import ClientId
from fedmtl.data.base import Federation, Schema
from fedmtl.data.joined import some_of
from fedmtl.data.prepared import Prepared
from fedmtl.registry.allowed import Allowed
from fedmtl.runs.experiment import Experiment, from_dict
from fedmtl.runs.presets import OTHER_TABLES, override, read_preset
from fedmtl.runtime.base import Runtime
from fedmtl.runtime.flower.context_backend import ContextBackend


class HostedNode(NamedTuple):
    """A client pool and the store of its private state."""

    client_pool: ClientPool
    store: StateStore
    prepared: Prepared | None = None
    """With the summaries of these clients; None where they have nothing to agree on."""

    def pool(self, agreed: bytes) -> ClientPool:
        """Return the clients with inputs by what was agreed.

        Raises:
            ValueError: a simulation loads all data in each process that it loads it in, and agrees on the same.
        """
        if self.prepared is None or agreed != self.prepared.agreed:
            raise ValueError(
                "What the clients of this run agree on is not what its data was made by when it was loaded; a "
                "simulation needs the same data wherever it is loaded."
            )
        return self.client_pool


@dataclass
class OwnNode:
    """The clients that a node's configuration names, of the data on its own disk."""

    experiment: Experiment
    clients: NDArray[np.int64]
    client_pool: ClientPool
    """With inputs by what the data of this disk agrees on: its clients and their tasks are the run's."""
    prepared: Prepared | None
    """As of a ``HostedNode``."""
    _pools: dict[bytes, ClientPool] = field(default_factory=dict)

    def pool(self, agreed: bytes) -> ClientPool:
        """Return the clients with inputs by what all clients of a run agreed on."""
        if self.prepared is None or agreed == self.prepared.agreed:
            return self.client_pool
        if agreed not in self._pools:
            self._pools.clear()
            federation = self.prepared.remake(agreed)
            hosted = shard_of(some_of(federation.clients, self.clients))
            self._pools[agreed] = make_client_pool(self.experiment, federation.schema, hosted)
        return self._pools[agreed]


_hosted: dict[tuple[int, int], HostedNode] = {}
"""Nodes that a Grid made in this process: (run id, node id) -> node."""

_own: dict[tuple[str, ...], OwnNode] = {}
"""The node that this process built last, for runtimes that send several messages to one process."""


def host(run_id: int, node_id: int, node: HostedNode | None) -> None:
    """Register a node of this process for the ClientApp; None removes it."""
    if node is None:
        _hosted.pop((run_id, node_id), None)
    else:
        _hosted[(run_id, node_id)] = node


def is_hosted(context: Context) -> bool:
    """Return True if a Grid of this process, or of this machine, made the node."""
    return (context.run_id, context.node_id) in _hosted


def make_client_pool(experiment: Experiment, schema: Schema, clients: Shard) -> ClientPool:
    """Make the pool of some clients."""
    return ClientPool(experiment.make_plan(schema), clients, experiment.make_engine(), experiment.rounds)


def make_store(experiment: Experiment, schema: Schema, folder: str | None) -> StateStore:
    """Make the store of a simulation's private state.

    State is stacked, in memory or in files of the run's folder, which only processes of one machine can share. On a
    cluster, or in a folder that must survive a loss of power, it is one file a client.
    """
    runtime: Runtime = experiment.runtime
    if folder is not None and (runtime.state_dir or runtime.traits.several_machines):
        return VersionedFileStore(FileBackend(folder, fsync=bool(runtime.state_dir)))
    return MmapStateStore(schema.owners.clients, folder)


def shard(clients: Iterable[ClientId], part: int, parts: int) -> list[ClientId]:
    """Return the clients of node ``part`` of ``parts``: every ``parts``-th, starting with the ``part``-th."""
    return sorted(clients)[part::parts]


FLOWER = "Flower"
"""The runtime of a run that ``flwr run`` starts."""

ALLOW_VARIABLE = "FEDMTL_ALLOW"
"""Environment variable of a machine: modules that its ServerApps and ClientApps may import, ``my_package,other``."""


def read_run_config(run_config: UserConfig, node_config: UserConfig | None = None) -> Experiment:
    """Read the experiment that ``flwr run . -c 'preset="digits" overrides="rounds=5 seed=1"'`` names.

    The run's configuration was written elsewhere. So modules that it names, also beside its preset, are imported only
    if they are fedmtl's, or this machine allows them: by the node's configuration, ``allow="my_package"``, or by the
    environment variable ``FEDMTL_ALLOW``.
    """
    settings = shlex.split(str(run_config.get("overrides", "")))
    listed = f"{(node_config or {}).get('allow', '')},{os.environ.get(ALLOW_VARIABLE, '')}"
    allowed = Allowed(modules=tuple(word.strip() for word in listed.split(",") if word.strip()))
    values, path = read_preset(str(run_config.get("preset", "digits")))
    for table in OTHER_TABLES:
        values.pop(table, None)
    if not _is_flower(values.get("runtime")):  # another says where 'fedmtl run' takes place
        values["runtime"] = FLOWER
    values = override(values, settings, allowed)
    if node_config is not None:
        values.pop("callbacks", None)  # they are the server's, and a device lacks their packages
    experiment = from_dict(values, str(path), allowed)
    if not experiment.runtime.traits.deployed:
        raise ValueError(
            f"runtime: {experiment.runtime!r} is no place for 'flwr run', which decides where nodes are; leave it out, "
            "or write runtime=Flower(round_seconds=3600)."
        )
    return experiment


def _is_flower(value: Any) -> bool:
    name = value.get("name") if isinstance(value, Mapping) else value
    return isinstance(name, str) and name.partition("(")[0].strip().lower() == FLOWER.lower()


def node_of(context: Context) -> HostedNode | OwnNode:
    """Return the node that a message is for.

    A Grid of this project has made it in this process. Elsewhere it is made from Flower's configuration:
    the run's (``preset``, ``overrides``) and the node's (``clients="0,3"``, or ``partition-id`` and
    ``num-partitions``).

    Raises:
        ValueError: a node configuration that names no clients.
    """
    hosted = _hosted.get((context.run_id, context.node_id))
    if hosted is not None:
        return hosted
    key = (repr(sorted(context.run_config.items())), repr(sorted(context.node_config.items())))
    if key not in _own:
        experiment = read_run_config(context.run_config, context.node_config)
        federation = experiment.load()
        _own.clear()
        clients = np.array(clients_of(context.node_config, federation), np.int64)
        pool = make_client_pool(experiment, federation.schema, shard_of(some_of(federation.clients, clients)))
        prepared = federation.prepared and federation.prepared.of(clients.tolist())
        _own[key] = OwnNode(experiment, clients, pool, prepared)
    return _own[key]


def client_pool_of(context: Context) -> ClientPool:
    """Return the client pool of a node, with inputs by what the data in this process agrees on."""
    return node_of(context).client_pool


def store_of(context: Context, run: str) -> StateStore:
    """Return the store of private state: the node's ``state-dir``, or Flower's context.

    Each run has a folder of its own, so that a run never starts from another's heads, and a resumed run finds its own.
    """
    hosted = _hosted.get((context.run_id, context.node_id))
    if hosted is not None:
        return hosted.store
    folder = str(context.node_config.get("state-dir", ""))
    return VersionedFileStore(
        FileBackend(f"{folder}/{run}", keep_runs=_keep_runs(context)) if folder else ContextBackend(context.state)
    )


def files_of(context: Context, run: str) -> Folder | None:
    """Return the folder of a run's private states; None where they are in Flower's context."""
    store = store_of(context, run)
    return store.files if isinstance(store, VersionedFileStore) else None


def _keep_runs(context: Context) -> int:
    """Return the number of runs whose states stay in ``state-dir``: ``keep-runs`` of the node's configuration."""
    keep = context.node_config.get("keep-runs", 2)
    if not isinstance(keep, int) or isinstance(keep, bool) or keep < 1:
        raise ValueError(f"node-config keep-runs is a whole number from 1, got {keep!r}.")
    return keep


def clients_of(node_config: UserConfig, federation: Federation) -> list[ClientId]:
    """Return the clients of the federation that a node configuration names."""
    if "clients" in node_config:
        wanted = [int(part) for part in str(node_config["clients"]).split(",")]
        unknown = [client for client in wanted if client not in federation.clients]
        if unknown:
            raise ValueError(
                f"node-config clients={node_config['clients']!r}: the data has no client {unknown[0]}, "
                f"it has {len(federation.clients)}, from {min(federation.clients)} to {max(federation.clients)}."
            )
        return wanted
    if "partition-id" in node_config and "num-partitions" in node_config:
        part, parts = int(node_config["partition-id"]), int(node_config["num-partitions"])
        if not 0 <= part < parts:
            raise ValueError(f"node-config needs 0 <= partition-id < num-partitions, got {part} and {parts}.")
        return shard(federation.clients, part, parts)
    raise ValueError(
        "The node's configuration names no clients; start it with "
        "--node-config 'clients=\"0,1\"' or --node-config 'partition-id=0 num-partitions=2', "
        f"got {dict(node_config)}."
    )
