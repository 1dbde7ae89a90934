"""The nouns of the project: parameters, batches, payloads, and what a client gives back."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from torch import Tensor

ClientId = int
"""A client of the federation. Flower's node ids are another thing: they change when a node restarts."""

TaskSet = tuple[str, ...]
"""The names of the tasks that a client owns, sorted. Clients with equal task sets have equal parameter shapes."""

Params = Mapping[str, Tensor]
"""Dotted parameter name -> tensor. Shared parameters are named ``trunk.…``, private ones ``head.<task>.…``."""

Batch = Mapping[str, Tensor]
"""``x`` [B, …]; ``y.<task>`` [B] or [B, outputs], NaN: not labelled; ``index`` [B] int64; ``mask`` [B], 0: padding.

Where the algorithm's optimiser has a schedule, also ``round`` [B] float32, in every row the same: 0 in the first."""

Payload = Mapping[str, Params]
"""Record name -> arrays, before coding: what one side wants the other to know."""

LossFn = Callable[[Params, Batch], Tensor]
"""Mean loss of a batch, a scalar."""


@runtime_checkable
class TaskLosses(Protocol):
    """A ``LossFn`` that also gives the tasks' losses one by one."""

    def each(self, params: Params, batch: Batch) -> Tensor:
        """Return the mean loss of each task, [T], tasks in order of their names."""
        ...


@runtime_checkable
class ExampleLosses(Protocol):
    """A ``LossFn`` that also gives the losses of single examples, from one forward pass over the batch."""

    stateful: bool
    """True where training differs from measuring: by dropout, or by statistics of the batch."""

    def __call__(self, params: Params, batch: Batch) -> Tensor: ...

    def examples(self, params: Params, batch: Batch) -> Tensor:
        """Return the loss that a batch of each example alone would have, [B]."""
        ...


P = TypeVar("P")


class Upload(NamedTuple):
    """Update of a client, as it crosses the wire."""

    payload: Payload
    num_examples: Any
    """n_i, the weight of this client in the server's means: a float, or a scalar tensor while engines lift."""


class LocalResult(NamedTuple, Generic[P]):
    """Result of a client's round: the part that stays and the part that leaves."""

    private: P
    upload: Upload
    metrics: Mapping[str, Tensor] = {}
    """Name -> scalar: estimates of this round about the client, for rows. They travel with ``train_metrics = true``."""


class Trained(NamedTuple, Generic[P]):
    """Result of a client's round, with metrics of its training."""

    private: P
    upload: Upload
    metrics: Mapping[str, Tensor]
    """Name -> scalar; none where the algorithm descends on no loss, or none is asked for."""
