"""The Ray actor: one Flower node, with the data and the private state of its share of the clients.

This file imports nothing heavy, so that actors can be started while the driver still imports torch.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from flwr.app import Message

    from fedmtl.data.base import Schema
    from fedmtl.runs.experiment import Experiment
    from fedmtl.runtime.ray.framing import Frame


class Worker:
    """One Flower node in a process of its own, for one run after another."""

    def __init__(self) -> None:
        """Import all that a node needs, while the driver prepares the node's data."""
        from fedmtl.core.gc_paused import gc_paused

        with gc_paused():
            import cloudpickle  # noqa: F401

            import fedmtl.runtime.local  # noqa: F401
            import fedmtl.runtime.ray.channels  # noqa: F401

    def load(
        self,
        run_id: int,
        node_id: int,
        pickled: bytes,
        part: int,
        parts: int,
        folder: str,
        data: str,
        paths: list[str],
        sockets: str,
        prepared: bytes,
    ) -> tuple[int, str]:
        """Load part ``part`` of ``parts`` of a run's clients; return the process id and the address of the socket.

        Args:
            run_id, node_id: Flower's numbers of the run and of this node.
            pickled: the experiment and the schema of its data.
            part, parts: of the clients.
            folder: of the run's private state.
            data: folder into which the driver wrote the data; without it the data is loaded anew.
            paths: import paths of the driver, which may lead to a user's modules.
            sockets: folder for the socket; empty for none, and then the address is empty.
            prepared: the pickled preparation, with the summaries of these clients; of None where there is none.

        Raises:
            ValueError: data is loaded anew, and its clients agree on something else.
        """
        import cloudpickle

        from fedmtl.client.data_shard import shard_of
        from fedmtl.client.shard_files import read_shard
        from fedmtl.data.joined import some_of
        from fedmtl.runtime.local import node_context
        from fedmtl.runtime.node import HostedNode, host, make_client_pool, make_store
        from fedmtl.runtime.placement import place_clients
        from fedmtl.runtime.ray.channels import listen

        sys.path += [path for path in paths if path not in sys.path]
        experiment: Experiment
        schema: Schema
        experiment, schema = cloudpickle.loads(pickled)
        agreement = cloudpickle.loads(prepared)
        if Path(data).is_dir():
            clients = read_shard(Path(data) / str(part))
        else:
            federation = experiment.load()
            hosted = place_clients(experiment, federation, parts)[part]
            clients = shard_of(some_of(federation.clients, hosted))
            if federation.prepared is not None and agreement.agreed != federation.prepared.agreed:
                raise ValueError("The data on this machine agrees on other statistics or words than the driver's.")
        self._context = node_context(run_id, node_id)
        client_pool = make_client_pool(experiment, schema, clients)
        host(run_id, node_id, HostedNode(client_pool, make_store(experiment, schema, folder), agreement))
        self._server = listen(sockets) if sockets else None
        return os.getpid(), self._server.address if self._server else ""

    def unload(self) -> None:
        """Release the run's data."""
        from fedmtl.runtime.node import host

        host(self._context.run_id, self._context.node_id, None)

    def handle(self, message: "Message", keys: list[tuple[str, str]], *arrays: "np.ndarray") -> "Frame":
        """Run the ClientApp. Arrays travel beside their message, so that Ray's shared memory is read without a copy."""
        from fedmtl.runtime.flower.client_app import reply
        from fedmtl.runtime.ray.framing import attach, detach

        return detach(reply(attach(message, keys, arrays), self._context))

    def serve(
        self, message: "Message | None" = None, keys: Sequence[tuple[str, str]] = (), *arrays: "np.ndarray"
    ) -> "Frame | None":
        """Run the ClientApp for this message, if there is one, and for those that arrive at the socket."""
        from fedmtl.runtime.ray.framing import Frame

        if self._server is None:
            return None
        return self._server.serve(self.handle, None if message is None else Frame(message, list(keys), list(arrays)))
