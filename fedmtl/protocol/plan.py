"""The plan that server and clients derive alike from one experiment, so that no name and no shape travels."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from fedmtl.algorithms.base import Algorithm, Prediction, first_server
from fedmtl.algorithms.common.by_map import by_map
from fedmtl.augmentations.base import Augmentation
from fedmtl.augmentations.steps import AugmentedInputs
from fedmtl.codecs.base import Codec
from fedmtl.core.context import Context, context_of
from fedmtl.core.input_forms import InputForms
from fedmtl.core.random import SERVER
from fedmtl.core.types import ClientId, LossFn, Params, Payload, TaskSet
from fedmtl.data.roster import Roster
from fedmtl.engines.base import ClientFn, TaskPadding
from fedmtl.metrics import MetricKind
from fedmtl.metrics.kinds import kind_of
from fedmtl.models.base import Model
from fedmtl.models.client_groups import ClientGroups
from fedmtl.models.split import SplitModel, build, initial_params, loss_fn
from fedmtl.protocol import client_functions as functions
from fedmtl.protocol.link import Link
from fedmtl.protocol.plan_digest import plan_digest
from fedmtl.protocol.plan_variants import add_widths, of_client, of_round
from fedmtl.protocol.returned import as_payload
from fedmtl.protocol.spec import Spec, spec_of
from fedmtl.tables.schemas import TRAIN_LOSS
from fedmtl.tasks.base import Task

METRICS = ("last", "all", "primary")
"""Models that are measured by all metrics: the last one, each that is measured, or none. The first is the default."""


class Plan:
    """The model, the algorithm and the codecs of an experiment, and their specs and functions.

    Both sides make one; equal experiments make equal plans. Clients differ by the set of tasks that they own, and by
    the width of their model: equal ones have equal parameters, specs and pure functions, which are made once, so that
    an engine recognises by identity the clients that can run together.
    """

    def __init__(
        self,
        *,
        algorithm: Algorithm[Any, Any],
        model: Model,
        up_codec: Codec[Any],
        down_codec: Codec[Any],
        tasks: Mapping[str, Task],
        input_shape: tuple[int, ...],
        integer_inputs: bool,
        batch_size: int | None,
        seed: int,
        owners: Mapping[ClientId, TaskSet],
        longest: int | None = None,
        valid_fraction: float = 0.0,
        metrics: str = METRICS[0],
        train_loss: bool = False,
        train_metrics: bool = False,
        forms: InputForms | None = None,
        recipe: str = "",
        augment: Sequence[Augmentation] = (),
        groups: ClientGroups | None = None,
        widths: ClientGroups | None = None,
    ) -> None:
        self.up_codec, self.down_codec = up_codec, down_codec
        self.tasks = dict(sorted(tasks.items()))
        self.batch_size, self.seed = batch_size, seed
        self.longest = longest  # training examples of the largest client of all; None where it is not known
        self.valid_fraction = valid_fraction  # of training examples, on which rounds are measured; 0: on test examples
        self.metrics = metrics  # the models that are measured by all metrics, one of ``METRICS``
        self.sent_metrics = frozenset(["train_loss"] * train_loss + ["train_metrics"] * train_metrics)
        self.owners, self.model, self.groups = owners, model, groups
        self.recipe = recipe  # digest of the recipe of inputs, see ``recipe_digest``; empty where there is none
        self.module: SplitModel = build(model, input_shape, self.tasks, seed, integer_inputs, forms)
        self.initial: Params = initial_params(self.module)
        self.algorithm = by_map(algorithm, self.module.roles, self.initial, groups)
        self.integer_inputs = self.module.integer_inputs
        """True where clients' inputs are int64; whole numbers become float32 where the model takes no others."""
        self.augment = tuple(augment)
        inputs = self.tasks, input_shape, self.integer_inputs, bool(forms)
        self.augmented = AugmentedInputs(self.augment, *inputs) if self.augment else None
        """Changes the inputs of training steps; None changes none."""
        self.example = np.zeros((1, *input_shape), np.int64 if self.integer_inputs else np.float32)
        self._by_tasks: dict[tuple[str, TaskSet], Any] = {}
        self._by_round: dict[Any, Plan] = {}
        self.widths = widths
        self.by_width: dict[str, Plan] = add_widths(self, algorithm, widths)

    def at(self, version: int) -> "Plan":
        """Return the plan of exchanges that send this version of the model: payloads may differ by round."""
        return of_round(self, version, self._by_round) if self.algorithm.traits.by_round else self

    def of(self, client: ClientId) -> "Plan":
        """Return the plan of a client; of those of one width, the same."""
        return self if self.widths is None else self.by_width[self.widths.of[client]]

    @property
    def all_tasks(self) -> TaskSet:
        return tuple(self.tasks)

    @property
    def mixture(self) -> Callable[[Payload, Any], Prediction] | None:
        """The algorithm's function for predictions with several models."""
        return functions.mixture_of(self.algorithm)

    def server_context(self, round: int, purpose: str) -> Context:
        """Return the context of a call of the algorithm's server functions; the first round is 1."""
        return context_of(self.seed, round - 1, SERVER).fold(purpose)

    @cached_property
    def digest(self) -> bytes:
        """8 bytes that differ when the other side runs another experiment."""
        return plan_digest(self)

    def _once(self, kind: str, owned: TaskSet, make: Callable[[], Any]) -> Any:
        unknown = [task for task in owned if task not in self.tasks]
        if unknown or not owned:
            raise ValueError(f"A client owns one or more of the tasks {list(self.tasks)}, got {list(owned)}.")
        if (kind, owned) not in self._by_tasks:
            self._by_tasks[kind, owned] = make()
        return self._by_tasks[kind, owned]

    def foreign(self, owned: TaskSet) -> tuple[str, ...]:
        """Return how the names of parameters begin that are of heads, or stems, of tasks that a client does not own."""
        return self._once("foreign", owned, lambda: self.module.foreign(owned))

    def restrict(self, params: Params, owned: TaskSet) -> Params:
        """Drop the parameters of heads and stems of tasks that the client does not own."""
        foreign = self.foreign(owned)
        return {name: value for name, value in params.items() if not name.startswith(foreign)}

    def loss(self, owned: TaskSet) -> LossFn:
        """Return a client's objective, the mean over its tasks."""
        return self._once("loss", owned, lambda: loss_fn(self.module, self.tasks, owned, self.augmented))

    def init_client(self, owned: TaskSet, num_examples: int) -> Any:
        """Return a client's first private state."""
        return self.algorithm.init_client(self.restrict(self.initial, owned), num_examples)

    def first_server(self, owners: Mapping[ClientId, TaskSet]) -> Any:
        """Return the server's state before the first round, for these clients."""
        ctx = self.server_context(1, "init_server")
        if not self.algorithm.traits.register_clients:  # 100,000 dicts without a use
            return self.algorithm.init_server(self.initial, ctx)
        own = {owned: self.restrict(self.initial, owned) for owned in Roster(owners).task_sets}
        return first_server(self.algorithm, self.initial, {c: own[owned] for c, owned in owners.items()}, ctx)

    def broadcast(self, server: Any, client: ClientId, owned: TaskSet, round: int = 1) -> Payload:
        """Return the broadcast to a client, without heads that the client does not own."""
        sent = self.algorithm.broadcast(server, client, self.server_context(round, "broadcast"))
        payload = as_payload(self.algorithm, "broadcast", sent).items()
        return {record: self.restrict(params, owned) for record, params in payload}

    @of_client
    def down_spec(self, client: ClientId, owned: TaskSet) -> Spec:
        """Return the spec of broadcasts to this client."""
        return self._once("down", owned, lambda: spec_of(self._first_broadcast(client, owned)))

    def _first_broadcast(self, client: ClientId, owned: TaskSet) -> Payload:
        """Return a broadcast to this client that has the shapes of every other one."""
        whole = self.algorithm.traits.broadcast_lists_clients
        return self.broadcast(self._whole_server if whole else self.first_server({client: owned}), client, owned)

    @cached_property
    def _whole_server(self) -> Any:
        return self.first_server(self.owners)

    @of_client
    def up_spec(self, client: ClientId, owned: TaskSet) -> Spec:
        """Return the spec of this client's uploads, found by a round on one example of zeros."""
        return self._once("up", owned, lambda: spec_of(self._trial(client, owned).result.upload.payload))

    @of_client
    def uplink(self, client: ClientId, owned: TaskSet) -> Link:
        """Return the link of this client's uploads."""
        own = tuple(name for name in self.training_metrics(client, owned) if name != TRAIN_LOSS)
        return self._once("uplink", owned, lambda: Link(self.up_spec(client, owned), self.up_codec, own))

    @of_client
    def downlink(self, client: ClientId, owned: TaskSet) -> Link:
        """Return the link of broadcasts to this client."""
        return self._once("downlink", owned, lambda: Link(self.down_spec(client, owned), self.down_codec))

    @of_client
    def training_metrics(self, client: ClientId, owned: TaskSet) -> tuple[str, ...]:
        """Return the names of the metrics that uploads of this client hold, sorted: none where it sends no numbers."""
        return tuple(sorted(self._trial(client, owned).result.metrics)) if self.up_spec(client, owned) else ()

    @of_client
    def reads_context(self, client: ClientId, owned: TaskSet) -> bool:
        """Return True where this client's round reads its context: a schedule, a layer that draws, or the method."""
        return self._trial(client, owned).reads_context

    def _trial(self, client: ClientId, owned: TaskSet) -> functions.ShapeTrial:
        """Run the client's round on one example of zeros."""

        def make() -> functions.ShapeTrial:
            sent = self._first_broadcast(client, owned)
            private, batches = self.init_client(owned, 1), functions.zeros(self.example, self.tasks, owned)
            return functions.trial(self.algorithm, self.training(owned), sent, private, batches)

        return self._once("trial", owned, make)

    def local_update(self, owned: TaskSet) -> ClientFn:
        """Return (down, private, batches, ctx) -> the client's round."""
        return self._once("update", owned, lambda: partial(self.algorithm.local_update, self.loss(owned)))

    def training(self, owned: TaskSet) -> ClientFn:
        """Return (down, private, batches, ctx) -> ``Trained``: the client's round, and its training loss if sent."""
        return self._once(
            "training", owned, lambda: functions.with_metrics(self.local_update(owned), self.sent_metrics)
        )

    def measure(self, owned: TaskSet) -> ClientFn:
        """Return (down, private, batches, ctx) -> task -> sums of its metric, of the client's predictor."""
        return self._once(
            "measure", owned, lambda: functions.measure_fn(self.algorithm, self.module, self.tasks, owned)
        )

    def outputs(self, owned: TaskSet) -> ClientFn:
        """Return (down, private, batches, ctx) -> task -> outputs for the first batch."""
        return self._once(
            "outputs", owned, lambda: functions.predict_fn(self.algorithm, self.module, self.tasks, owned)
        )

    @cached_property
    def kinds(self) -> dict[str, MetricKind]:
        """Task -> its statistics beside the primary metric's; without tasks that have none."""
        found = {name: kind_of(task) for name, task in self.tasks.items()}
        return {name: kind for name, kind in found.items() if kind is not None}

    def task_padding(self, function: ClientFn) -> TaskPadding | None:
        """Return the padding of clients to all tasks for ``local_update`` or ``measure``; None if that is not safe."""
        safe = self.algorithm.traits.independent_heads and not self.module.has_stems
        return functions.padding_of(self.initial, self.tasks, function) if safe else None

    @property
    def input_like(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of one client's input."""
        return self.example.shape[1:], self.example.dtype

    def sums_sizes(self, owned: TaskSet) -> dict[str, int]:
        """Task -> how many numbers its sums are."""
        make = partial(functions.sizes_of_sums, self.module, self.tasks, self.example, owned)
        return self._once("sums", owned, lambda: make(self.restrict(self.initial, owned)))
