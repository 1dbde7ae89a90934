"""Models of a finished run, a client at a time: the very ones that the run measured at its end."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedmtl.client.stages.load import first_state, state_kind
from fedmtl.client.state.base import StateStore
from fedmtl.core.random import float32_default
from fedmtl.core.threads import one_thread
from fedmtl.core.trees import tree_index, tree_leaves, tree_map, tree_stack
from fedmtl.core.types import ClientId, Params, Payload, TaskSet
from fedmtl.data.base import Schema
from fedmtl.data.client_number import client_number
from fedmtl.data.recipe import TableRecipe
from fedmtl.data.validation import example_counts
from fedmtl.export.finished import Finished, store_in
from fedmtl.export.inputs import checked_inputs
from fedmtl.export.modules import ModelMixture, module_of
from fedmtl.export.named_inputs import predict_named
from fedmtl.export.predict import predict
from fedmtl.models.predictions import Predictions
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.packets import DOWN, HEADER_BYTES, Packets
from fedmtl.protocol.packing import raise_error, unpack_payloads
from fedmtl.protocol.plan_variants import kinds_of
from fedmtl.protocol.reference import Reference, whole_bytes
from fedmtl.runs.experiment import Experiment
from fedmtl.server.broadcast import broadcasts
from fedmtl.server.sampling import measured_clients
from fedmtl.tasks.base import Task


class TrainedModels:
    """Models of the clients of a finished run.

    The server's last state is broadcast once more, coded as the run coded it, and joined with the client's private
    state. A codec's randomness is that of a packet, which clients with equal broadcasts share; so where the codec of
    broadcasts loses something, the packets of all measured clients are made, once.
    """

    def __init__(self, run: Finished) -> None:
        self._run = run._replace(plan=run.plan.at(run.version))
        self._roster = kinds_of(run.plan, run.schema.owners)
        self._exchange = Exchange(number=run.version + 1, version=run.version, measure=True, last=True)

    @property
    def run(self) -> Finished:
        """The run that they are of."""
        return self._run

    def number(self, client: int | str) -> ClientId:
        """Return the id of a client that is given by its id or its name.

        Raises:
            ValueError: the run has no such client.
        """
        return client_number("The run", client, self._roster.clients, self._run.schema.client_names)

    def tasks(self, client: int | str) -> dict[str, Task]:
        """Return the tasks that a client owns, by name."""
        return {task: self._run.plan.tasks[task] for task in self._roster[self.number(client)]}

    def module(self, client: int | str) -> nn.Module:
        """Return the model that a client predicts with, in evaluation mode: inputs [B, …] -> task -> outputs.

        Raises:
            ValueError: an unknown client, or one whose private state is elsewhere.
        """
        number = self.number(client)
        plan, owned = self._run.plan.of(number), self._roster[number]
        with torch.no_grad(), one_thread(), float32_default():
            down, private = self._down(number, owned), self._private(number, owned)
            if plan.mixture is None:
                return module_of(plan.module, owned, plan.algorithm.personal_params(down, private))
            models, weights = plan.mixture(down, private)
            parts = [module_of(plan.module, owned, params) for params in models]
            return ModelMixture(parts, weights, self.tasks(number)).eval()

    def predict(self, client: int | str, x: Any) -> Predictions:
        """Return a client's predictions for new examples.

        Args:
            client: id or name.
            x: examples, [N, …], as the run's data had them: an array, a tensor, a list or a table; N may be large. Of a
                run whose data is a table, a table with its columns, which the run's recipe reads; arrays are inputs. Of
                one whose inputs have names, {name of an input or a task: examples}.

        Raises:
            ValueError: an unknown client, examples of another shape or type, NaN or infinity among them, or a table
                without a column of the run's.
        """
        schema, plan = self._run.schema, self._run.plan
        number = self.number(client)
        if self._run.recipe is not None and hasattr(x, "columns"):
            x = self._run.recipe.inputs(x, schema.client_names.get(number, number))
        if schema.forms:
            return predict_named(self.module(number), plan.module, self.tasks(number), schema.forms, x)
        inputs = checked_inputs(x, schema.input_shape, plan.integer_inputs)
        return predict(self.module(number), self.tasks(number), inputs)

    def own_params(self, client: ClientId) -> tuple[Params, int]:
        """Return the parameters that a client predicts with, and the bytes of the packet that it downloads for them.

        A client that keeps its whole model downloads none.

        Raises:
            ValueError: a client that predicts with several models, or one whose private state is elsewhere.
        """
        plan, owned = self._run.plan.of(client), self._roster[client]
        if plan.mixture is not None:
            raise ValueError(f"{plan.algorithm!r} predicts with several models, of which none is the client's own.")
        sends = plan.algorithm.traits.sends
        size = 0 if sends is not None and sends.private == "model" else self._download_bytes(client, owned)
        with torch.no_grad(), one_thread(), float32_default():
            return plan.algorithm.personal_params(self._down(client, owned), self._private(client, owned)), size

    def _download_bytes(self, client: ClientId, owned: TaskSet) -> int:
        spec = self._run.plan.down_spec(client, owned)
        if self._run.plan.down_codec.traits.delta_only and spec:
            return HEADER_BYTES + whole_bytes(spec.size)
        return int(self._packets_of(client).lengths[0])

    def _down(self, client: ClientId, owned: TaskSet) -> Payload:
        """Return the broadcast as the client decodes it."""
        plan = self._run.plan
        link = plan.downlink(client, owned)
        if plan.down_codec.traits.delta_only and link.spec:
            return link.arrays(torch.from_numpy(self._run.references[link.digest.hex()].numbers.copy()))
        packets = self._packets_of(client)
        unpacked = unpack_payloads(packets, link, kind=DOWN, round=self._exchange.number, on_error=raise_error)
        return link.arrays(torch.from_numpy(unpacked.vectors[0].copy()))

    def _packets_of(self, client: ClientId) -> Packets:
        one = np.array([client])
        if self._run.plan.down_codec.traits.lossless or client not in self._measured:
            return self._broadcast(one)
        return self._packets.select(np.searchsorted(self._measured, one))

    @cached_property
    def _measured(self) -> NDArray[np.int64]:
        return measured_clients(self._roster, self._run.experiment.evaluate_clients, self._run.plan.seed)

    @cached_property
    def _packets(self) -> Packets:
        """The packet of each measured client."""
        return self._broadcast(self._measured)

    def _broadcast(self, clients: NDArray[np.int64]) -> Packets:
        return broadcasts(self._run.plan, self._run.server, self._roster, self._exchange, clients)

    def _private(self, client: ClientId, owned: TaskSet) -> Any:
        """Return the client's private state at the end of the run, or its first one where it never trained."""
        plan, schema = self._run.plan.of(client), self._run.schema
        counts = example_counts(schema.examples, plan.valid_fraction)
        size = 1 if counts is None else int(counts[self._roster.rows(np.array([client]))[0], 0])
        first = first_state(plan, client, owned, size)
        if not tree_leaves(first["private"]):
            return first["private"]
        store = self._run.store
        if store is None:
            self._run.refuse_absent()
        states, kind, some = tree_stack([first]), state_kind(owned, first), np.array([client])
        found = store.load_rows(kind, some, self._run.version, lambda k: tree_map(lambda one: one[k], states))
        if client in self._run.absent:
            self._run.refuse_absent()
        return tree_index(found["private"], 0)


def models_of(
    experiment: Experiment,
    schema: Schema,
    recipe: TableRecipe | None,
    summary: Mapping[str, Any],
    server: Any,
    states: StateStore | str | None,
    references: Mapping[str, Reference],
) -> TrainedModels:
    """Return the models of a run that has ended in this process.

    Args:
        experiment: of the run.
        schema: of its data, as the run took it.
        recipe: of its data, where that is a table.
        summary: of the run.
        server: its last state, or the best.
        states: folder or store of its clients' private states; None where these are on other machines.
        references: models that its clients hold, where broadcasts are changes of them.
    """
    version = summary["stopped"]["best_round"] if experiment.valid_fraction else experiment.rounds
    store = store_in(Path(states), experiment, schema) if isinstance(states, str) else states
    plan = experiment.make_plan(schema)
    run = Finished(experiment, schema, plan, server, version, store, recipe, references=references)
    return TrainedModels(run)
