"""What server and clients derive alike from one experiment, so that no name and no shape needs to travel."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial, update_wrapper
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms.base import Algorithm, Prediction, first_server, scheduled
from fedmtl.algorithms.common.local_training import losses_kept, make_batches, mean_loss
from fedmtl.codecs.base import Codec
from fedmtl.core.trees import sha256
from fedmtl.core.types import Batch, ClientId, LossFn, Params, Payload, TaskSet, Trained
from fedmtl.data.base import Schema
from fedmtl.data.roster import Roster
from fedmtl.data.validation import example_counts
from fedmtl.engines.base import ClientFn, TaskPadding
from fedmtl.metrics import Kind
from fedmtl.metrics.kinds import kind_of
from fedmtl.models.base import Model
from fedmtl.models.split import (
    SplitModel,
    build,
    check_runs,
    initial_params,
    loss_fn,
    mixed_outputs_fn,
    mixed_sums_fn,
    outputs_fn,
    sums_fn,
)
from fedmtl.protocol.spec import Spec, spec_of
from fedmtl.tables.schemas import TRAIN_LOSS
from fedmtl.tasks.base import Task

METRICS = ("last", "all", "primary")
"""Models that are measured by all metrics: the last one, each that is measured, or none. The first is the default."""

REGISTERED = 50_000
"""Clients at most where the server keeps something of each: it is written every round, and similarities are K × K."""


class Plan:
    """The model, the algorithm and the codecs of an experiment, and what follows from them.

    Both sides make one; equal experiments make equal plans. Clients are told apart by the set of tasks that
    they own: equal sets have equal parameters, specs and pure functions, which are made once and kept, so that
    an engine can tell by identity which clients to run together.
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
    ) -> None:
        self.algorithm = algorithm
        self.up_codec = up_codec
        self.down_codec = down_codec
        self.tasks = dict(sorted(tasks.items()))
        self.batch_size = batch_size
        self.longest = longest
        """Training examples of the largest client of all; None where it is not known."""
        self.seed = seed
        self.valid_fraction = valid_fraction
        """Of a client's training examples, what it holds out and measures rounds on; 0: it measures test examples."""
        self.metrics = metrics
        """Which models are measured by all metrics, one of ``METRICS``."""
        self.train_loss = train_loss
        """Whether uploads hold the client's training loss."""
        self.owners = owners
        self.model = model
        self.module: SplitModel = build(model, input_shape, self.tasks, seed, integer_inputs)
        self.initial: Params = initial_params(self.module)
        self.integer_inputs = self.module.integer_inputs
        """Whether clients' inputs are int64; whole numbers become float32 where the model takes no others."""
        self._input = np.zeros((1, *input_shape), np.int64 if self.integer_inputs else np.float32)
        self._by_tasks: dict[tuple[str, TaskSet], Any] = {}

    @property
    def all_tasks(self) -> TaskSet:
        return tuple(self.tasks)

    @property
    def central(self) -> bool:
        """Whether the raw data goes to the server, which then runs the local update itself."""
        return self.algorithm.traits.centralized

    @property
    def mixture(self) -> Callable[[Payload, Any], Prediction] | None:
        """The algorithm's, where its clients predict with several models."""
        algorithm: Any = self.algorithm
        return algorithm.mixture if self.algorithm.traits.mixture else None

    @cached_property
    def _scheduled(self) -> bool:
        return scheduled(self.algorithm)

    def schedule_step(self, round: int) -> int | None:
        """What training batches of a round, 1, 2, …, say of it: t = 0, 1, …, or nothing, None, where nobody asks."""
        return round - 1 if self._scheduled else None

    @cached_property
    def digest(self) -> bytes:
        """8 bytes that differ when the other side runs another experiment."""
        picture = (
            [(name, tuple(value.shape)) for name, value in self.initial.items()],
            repr(self.tasks),
            repr(self.algorithm),
            repr(self.up_codec),
            repr(self.down_codec),
            self.batch_size,
            self.seed,
            *([] if self.metrics == METRICS[0] else [self.metrics]),
            *([sha256(frozen)] if (frozen := dict(self.module.named_buffers())) else []),
            *([f"valid_fraction={self.valid_fraction}"] if self.valid_fraction else []),
            *(["train_loss"] if self.train_loss else []),
        )
        return blake2b(repr(picture).encode(), digest_size=8).digest()

    def _once(self, kind: str, owned: TaskSet, make: Callable[[], Any]) -> Any:
        unknown = [task for task in owned if task not in self.tasks]
        if unknown or not owned:
            raise ValueError(f"A client owns one or more of the tasks {list(self.tasks)}, got {list(owned)}.")
        key = (kind, owned)
        if key not in self._by_tasks:
            self._by_tasks[key] = make()
        return self._by_tasks[key]

    def restrict(self, params: Params, owned: TaskSet) -> Params:
        """Without what is named after heads of tasks that the client does not own, a model's or learnt beside it."""
        foreign = self._once("foreign", owned, lambda: tuple(f"head.{t}." for t in self.tasks if t not in owned))
        return {name: value for name, value in params.items() if not name.startswith(foreign)}

    def loss(self, owned: TaskSet) -> LossFn:
        """A client's objective: the mean over its tasks."""
        return self._once("loss", owned, lambda: loss_fn(self.module, self.tasks, owned))

    def check(self, roster: Mapping[ClientId, TaskSet]) -> None:
        """Find what cannot work before a run begins.

        Raises:
            ValueError: a client with an unknown task, an algorithm whose payloads cannot be sent, or one that predicts
                with a mixture of models and a task that cannot.
        """
        traits = self.algorithm.traits
        if traits.register_clients and not traits.counts_clients_only and len(roster) > REGISTERED:
            raise ValueError(
                f"{self.algorithm!r} keeps something of each client on the server, so it takes at most {REGISTERED:,} "
                f"clients, got {len(roster):,}; give the data fewer clients, or take an algorithm whose "
                "server keeps one model, such as FedPer, FedAvg or Ditto."
            )
        if traits.named_heads:
            for task in self.tasks:
                if not any(name.startswith(f"head.{task}.") for name in self.initial):
                    raise ValueError(
                        f"{self.algorithm!r} needs a head with parameters for each task, but {self.model!r} has none "
                        f"for {task!r}; make head(features, outputs) a module that learns."
                    )
        roster = Roster(roster)
        for owned, client in zip(roster.task_sets, roster.first(), strict=True):
            down, up = self.down_spec(client, owned), self.up_spec(client, owned)
            for what, spec in (("broadcast", down), ("upload", up)):
                if not spec and spec.empty:
                    raise ValueError(
                        f"{self.algorithm!r} has nothing to send: its {what} holds {' and '.join(spec.empty)} alone, "
                        f"of which {self.model!r} has no parameter; take Local, an algorithm that shares whole models, "
                        "such as FedAvg, Ditto or MRMTL, or a model in which that part learns."
                    )
                if spec and spec.size == 0:
                    raise ValueError(
                        f"A payload has at least one number, or no record at all, but {self.algorithm!r} has "
                        f"{[f'{entry.record}/{entry.name} {entry.shape}' for entry in spec]} in its {what}."
                    )
            self.measure(owned)

    def check_inputs(self, parts: Iterable[NDArray[Any]]) -> None:
        """Find whole numbers that the model has no place for, such as tokens beyond a table.

        Args:
            parts: inputs, [N, …] each.

        Raises:
            ValueError: the trunk fails on the smallest or the largest number of each feature.
        """
        if not self.integer_inputs:
            return
        parts = [part for part in parts if len(part)]
        low, high = (np.stack([of(part, axis=0) for part in parts]) for of in (np.min, np.max))
        x = torch.from_numpy(np.stack([low.min(0), high.max(0)]))
        check_runs(f"{self.model!r}: inputs from {x.min()} to {x.max()}", self.module.trunk, x)

    def init_client(self, owned: TaskSet, num_examples: int) -> Any:
        """A client's first private state."""
        return self.algorithm.init_client(self.restrict(self.initial, owned), num_examples)

    def first_server(self, owners: Mapping[ClientId, TaskSet]) -> Any:
        """The server's state before the first round, for these clients."""
        if not self.algorithm.traits.register_clients:  # 100,000 dicts that nobody asks for
            return self.algorithm.init_server(self.initial)
        owners = Roster(owners)
        own = [self.restrict(self.initial, owned) for owned in owners.task_sets]
        first = {client: own[index] for client, index in zip(owners, owners.owns.tolist(), strict=True)}
        return first_server(self.algorithm, self.initial, first)

    def broadcast(self, server: Any, client: ClientId, owned: TaskSet) -> Payload:
        """What the algorithm says to a client, without heads that the client does not own."""
        payload = self.algorithm.broadcast(server, client)
        return {record: self.restrict(params, owned) for record, params in payload.items()}

    def down_spec(self, client: ClientId, owned: TaskSet) -> Spec:
        """What a broadcast to this client holds."""

        def make() -> Spec:
            return spec_of(self.broadcast(self._server_for(client, owned), client, owned))

        return self._once("down", owned, make)

    def _server_for(self, client: ClientId, owned: TaskSet) -> Any:
        """A first server state from which this client's broadcast has the shapes of every other one."""
        lists_clients = self.algorithm.traits.broadcast_lists_clients
        return self._whole_server if lists_clients else self.first_server({client: owned})

    @cached_property
    def _whole_server(self) -> Any:
        return self.first_server(self.owners)

    def up_spec(self, client: ClientId, owned: TaskSet) -> Spec:
        """What an upload of this client holds: found by running its round on one example of zeros."""

        return self._once("up", owned, lambda: spec_of(self._trial(client, owned).upload.payload))

    def sends_loss(self, client: ClientId, owned: TaskSet) -> bool:
        """Whether uploads of this client hold its training loss: it descends on one, and sends numbers."""

        def make() -> bool:
            return bool(self.up_spec(client, owned)) and TRAIN_LOSS in self._trial(client, owned).metrics

        return self._once("loss sent", owned, make)

    def _trial(self, client: ClientId, owned: TaskSet) -> Trained[Any]:
        """The client's round on one example of zeros."""

        def make() -> Trained[Any]:
            down = self.broadcast(self._server_for(client, owned), client, owned)
            return self.training(owned)(down, self.init_client(owned, 1), self._zeros(owned))

        return self._once("trial", owned, make)

    def _zeros(self, owned: TaskSet) -> list[dict[str, Tensor]]:
        """One batch of one example of zeros, to learn shapes from."""
        labels = {task: np.zeros((1, *self.tasks[task].label_shape), np.float32) for task in owned}
        return make_batches(self._input, labels, None, None, self.schedule_step(1))

    def local_update(self, owned: TaskSet) -> ClientFn:
        """(down, private, batches) -> the client's round."""
        return self._once("update", owned, lambda: partial(self.algorithm.local_update, self.loss(owned)))

    def training(self, owned: TaskSet) -> ClientFn:
        """(down, private, batches) -> ``Trained``: the client's round, with its training loss where that is sent."""
        return self._once("training", owned, lambda: _with_metrics(self.local_update(owned), self.train_loss))

    def measure(self, owned: TaskSet) -> ClientFn:
        """(down, private, batches) -> task -> sums of its metric, with what the client predicts with."""

        def make() -> ClientFn:
            if self.mixture is not None:
                return partial(_measure_mixture, self.mixture, mixed_sums_fn(self.module, self.tasks, owned))
            sums = sums_fn(self.module, self.tasks, owned)

            def measure(down: Payload, private: Any, batches: Sequence[Batch]) -> dict[str, Tensor]:
                params = self.algorithm.personal_params(down, private)
                return _added([sums(params, batch) for batch in batches])

            return measure

        return self._once("measure", owned, make)

    def outputs(self, owned: TaskSet) -> ClientFn:
        """(down, private, batches) -> task -> outputs of what the client predicts with, for the first batch."""

        def make() -> ClientFn:
            if self.mixture is not None:
                return partial(_mixture_outputs, self.mixture, mixed_outputs_fn(self.module, self.tasks, owned))
            outputs = outputs_fn(self.module, owned)

            def predict(down: Payload, private: Any, batches: Sequence[Batch]) -> dict[str, Tensor]:
                return outputs(self.algorithm.personal_params(down, private), batches[0])

            return predict

        return self._once("outputs", owned, make)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Task -> its statistics beside the primary metric's; without tasks that have none."""
        found = {name: kind_of(task) for name, task in self.tasks.items()}
        return {name: kind for name, kind in found.items() if kind is not None}

    def task_padding(self, function: ClientFn) -> TaskPadding | None:
        """Return the padding of clients to all tasks for ``local_update`` or ``measure``; None if that is not safe."""
        if not self.algorithm.traits.independent_heads:
            return None
        heads = {name: torch.zeros_like(w) for name, w in self.initial.items() if name.startswith("head.")}
        return TaskPadding(function, heads, {name: task.label_shape for name, task in self.tasks.items()})

    @property
    def input_like(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of one client's input."""
        return self._input.shape[1:], self._input.dtype

    def sums_sizes(self, owned: TaskSet) -> dict[str, int]:
        """Task -> how many numbers its sums are."""

        def make() -> dict[str, int]:
            sums = sums_fn(self.module, self.tasks, owned)(self.restrict(self.initial, owned), self._zeros(owned)[0])
            return {task: value.numel() for task, value in sums.items()}

        return self._once("sums", owned, make)


def _with_metrics(update: ClientFn, train_loss: bool) -> ClientFn:
    """A client's round, with its training loss or without metrics."""

    def train(down: Payload, private: Any, batches: Sequence[Batch]) -> Trained[Any]:
        if not train_loss:
            result = update(down, private, batches)
            return Trained(result.private, result.upload, {})
        with losses_kept() as kept:
            result = update(down, private, batches)
        loss = mean_loss(kept)
        return Trained(result.private, result.upload, {} if loss is None else {TRAIN_LOSS: loss.detach()})

    return update_wrapper(train, update)  # engines remember the best chunk by name


def _measure_mixture(
    mixture: Callable[..., Any],
    sums: Callable[..., dict[str, Tensor]],
    down: Payload,
    private: Any,
    batches: Sequence[Batch],
) -> dict[str, Tensor]:
    models, weights = mixture(down, private)
    return _added([sums(models, weights, batch) for batch in batches])


def _mixture_outputs(
    mixture: Callable[..., Any],
    outputs: Callable[..., dict[str, Tensor]],
    down: Payload,
    private: Any,
    batches: Sequence[Batch],
) -> dict[str, Tensor]:
    models, weights = mixture(down, private)
    return outputs(models, weights, batches[0])


def _added(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {task: torch.stack([part[task] for part in parts]).sum(0) for task in parts[0]}


def make_plan(
    schema: Schema,
    *,
    algorithm: Algorithm[Any, Any],
    model: Model,
    up_codec: Codec[Any],
    down_codec: Codec[Any],
    batch_size: int | None,
    seed: int,
    valid_fraction: float = 0.0,
    metrics: str = METRICS[0],
    train_loss: bool = False,
) -> Plan:
    """The plan of an experiment whose data has this schema."""
    counts = example_counts(schema.examples, valid_fraction)
    return Plan(
        algorithm=algorithm,
        model=model,
        up_codec=up_codec,
        down_codec=down_codec,
        tasks=schema.tasks,
        input_shape=schema.input_shape,
        integer_inputs=schema.integer_inputs,
        batch_size=batch_size,
        seed=seed,
        metrics=metrics,
        train_loss=train_loss,
        owners=schema.owners,
        longest=None if counts is None or not len(counts) else int(counts[:, 0].max()),
        valid_fraction=valid_fraction,
    )
