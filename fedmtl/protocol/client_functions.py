"""Pure functions of a client's round, (down, private, batches, ctx) -> result, for engines to run or to batch."""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial, update_wrapper
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms.base import Algorithm, Prediction
from fedmtl.algorithms.common.local_training import one_pass
from fedmtl.algorithms.common.training_loss import losses_kept, mean_loss
from fedmtl.core.bounds import shown
from fedmtl.core.context import NO_CONTEXT, Context, NoContext, context_of
from fedmtl.core.types import Batch, Params, Payload, TaskSet, Trained
from fedmtl.data.batches import make_batches
from fedmtl.engines.base import ClientFn, TaskPadding
from fedmtl.models.split import SplitModel, mixed_outputs_fn, mixed_sums_fn, outputs_fn, sums_fn
from fedmtl.protocol.returned import as_result, check_result, check_state
from fedmtl.tables.schemas import TRAIN_LOSS
from fedmtl.tasks.base import Task


def mixture_of(algorithm: Any) -> Callable[[Payload, Any], Prediction] | None:
    """Return the function that gives a client's models and weights, of algorithms that predict with several models."""
    return algorithm.mixture if algorithm.traits.mixture else None


def measure_fn(
    algorithm: Algorithm[Any, Any], module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet
) -> ClientFn:
    """Make the function that gives the sums of each task's metric, of the model that a client predicts with."""
    if (mixture := mixture_of(algorithm)) is not None:
        return partial(_measure_mixture, mixture, mixed_sums_fn(module, tasks, owned))
    sums = sums_fn(module, tasks, owned)

    def measure(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> dict[str, Tensor]:
        params = algorithm.personal_params(down, private)
        return _added([sums(params, batch) for batch in batches])

    return measure


def predict_fn(
    algorithm: Algorithm[Any, Any], module: SplitModel, tasks: Mapping[str, Task], owned: TaskSet
) -> ClientFn:
    """Make the function that gives each task's outputs for the first batch, of the client's model."""
    if (mixture := mixture_of(algorithm)) is not None:
        return partial(_mixture_outputs, mixture, mixed_outputs_fn(module, tasks, owned))
    outputs = outputs_fn(module, owned)

    def predict(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> dict[str, Tensor]:
        return outputs(algorithm.personal_params(down, private), batches[0])

    return predict


def with_metrics(update: ClientFn, sent: AbstractSet[str]) -> ClientFn:
    """Make a client's round with its training loss ("train_loss"), the metrics of the algorithm ("train_metrics")."""
    train_loss, train_metrics = "train_loss" in sent, "train_metrics" in sent

    def train(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Trained[Any]:
        if not train_loss:
            result = as_result(update(down, private, batches, ctx))
            return Trained(result.private, result.upload, _own(result.metrics) if train_metrics else {})
        with losses_kept() as kept:
            result = as_result(update(down, private, batches, ctx))
        loss, own = mean_loss(kept), _own(result.metrics) if train_metrics else {}
        return Trained(result.private, result.upload, own if loss is None else {**own, TRAIN_LOSS: loss.detach()})

    return update_wrapper(train, update)  # engines remember the best chunk by name


def _own(metrics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an algorithm's metrics as float32.

    Raises:
        ValueError: a name that is none, or is taken, or something else than a scalar.
    """
    for name, value in metrics.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == TRAIN_LOSS:
            raise ValueError(
                f"The name of a metric is letters, digits and any of '_.-', and not {TRAIN_LOSS!r}, which sgd counts; "
                f"got {shown(name)}; rename it."
            )
        if not isinstance(value, Tensor) or value.shape != ():
            got = tuple(value.shape) if isinstance(value, Tensor) else shown(value)
            raise ValueError(f"The metric {name!r} is a scalar tensor, got {got}; give a metric for each number.")
    return {name: value.detach().float() for name, value in metrics.items()}


_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}")


def sizes_of_sums(
    module: SplitModel, tasks: Mapping[str, Task], x: NDArray[Any], owned: TaskSet, params: Params
) -> dict[str, int]:
    """Task -> how many numbers its sums are, found on the inputs [1, …]."""
    found = sums_fn(module, tasks, owned)(params, zeros(x, tasks, owned)[0])
    return {task: value.numel() for task, value in found.items()}


class ShapeTrial(NamedTuple):
    """A round on an example of zeros."""

    result: Trained[Any]
    reads_context: bool
    """True where the function reads its context; others are called without one."""


def padding_of(initial: Params, tasks: Mapping[str, Task], function: ClientFn) -> TaskPadding:
    """Make the padding of clients to all tasks, with heads of zeros."""
    heads = {name: torch.zeros_like(w) for name, w in initial.items() if name.startswith("head.")}
    return TaskPadding(function, heads, {name: task.label_shape for name, task in tasks.items()})


def zeros(x: NDArray[Any], tasks: Mapping[str, Task], owned: TaskSet) -> list[dict[str, Tensor]]:
    """Make one batch of the inputs [1, …], with labels of zeros."""
    labels = {task: np.zeros((1, *tasks[task].label_shape), np.float32) for task in owned}
    return make_batches(x, labels, None, None)


def trial(algorithm: Any, update: ClientFn, down: Payload, private: Any, batches: Sequence[Batch]) -> ShapeTrial:
    """Run a client's round, in one pass, with a context only if it reads one.

    Raises:
        ValueError: the algorithm's private state, or what it returns, is not what its protocol says.
    """
    check_state(algorithm, private)
    with one_pass():
        try:
            found = ShapeTrial(update(down, private, batches, NO_CONTEXT), False)
        except NoContext:
            found = ShapeTrial(update(down, private, batches, context_of()), True)
    check_result(algorithm, private, found.result)
    return found


def _measure_mixture(
    mixture: Callable[..., Any],
    sums: Callable[..., dict[str, Tensor]],
    down: Payload,
    private: Any,
    batches: Sequence[Batch],
    ctx: Context,
) -> dict[str, Tensor]:
    models, weights = mixture(down, private)
    return _added([sums(models, weights, batch) for batch in batches])


def _mixture_outputs(
    mixture: Callable[..., Any],
    outputs: Callable[..., dict[str, Tensor]],
    down: Payload,
    private: Any,
    batches: Sequence[Batch],
    ctx: Context,
) -> dict[str, Tensor]:
    models, weights = mixture(down, private)
    return outputs(models, weights, batches[0])


def _added(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {task: torch.stack([part[task] for part in parts]).sum(0) for task in parts[0]}
