"""Descent of new clients on their labels: one function of one client, which an engine runs for all of them at once."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms.common.gradient import gradient_of
from fedmtl.algorithms.common.local_training import UNSCHEDULED
from fedmtl.client.data_shard import ShardRows
from fedmtl.core.buffers import buffers, buffers_handed, is_buffer, trainable
from fedmtl.core.context import Context, context_rows, training_step
from fedmtl.core.random import rng
from fedmtl.core.trees import tree_leaves, tree_map, tree_unflatten
from fedmtl.core.types import Batch, LossFn, Params, Payload, TaskSet
from fedmtl.engines.base import ClientFn, Cohort, Engine, LazyRows
from fedmtl.optimizers import Optimizer

PIECE = 10
"""Steps of one call of an engine, which records a call once."""


class NewModels(NamedTuple):
    """Models of K clients of one set of tasks; of a mixture, several and their weights, as of ``export.mixture``."""

    common: Params
    """Parameters that all have alike."""
    own: Params
    """Parameters of each, [K, …]."""

    @property
    def mixed(self) -> bool:
        """True of mixtures."""
        return any(name.startswith("weights") for name in self.own)

    def trains(self, names: frozenset[str], count: int) -> "NewModels":
        """Return the same models, each with parameters of these names of its own."""
        own = {name: repeated(value, count) for name, value in self.common.items() if name in names}
        return NewModels({name: value for name, value in self.common.items() if name not in names}, {**self.own, **own})


def repeated(value: Tensor, count: int) -> Tensor:
    """Return an array [count, …] with one value in all rows."""
    return value.expand(count, *value.shape).contiguous()


def descent(loss: LossFn, trained: frozenset[str], optimizer: Optimizer, lr: float, training: bool) -> ClientFn:
    """Make the function of one client's steps: (fixed parameters, state, batches, ctx) -> its next state.

        d, s <- direction(s, ∇ loss(w, batch), w)      over the trained parameters alone        (1)
        w    <- w − η d                                for each batch that holds an example     (2)

    Args:
        loss: of the client's tasks.
        trained: names of the parameters that move; buffers among them are those that the loss hands back.
        optimizer, lr: of the steps.
        training: layers that train and measure differently are in training mode.
    """

    def advance(down: Payload, private: Any, batches: Sequence[Batch], ctx: Context) -> Any:
        params = {**down["common"], **private["own"]}
        fixed = {name: value for name, value in params.items() if name not in trained}
        moving = {name: value for name, value in params.items() if name in trained}
        w, held, state = trainable(moving), buffers(moving), private["optimizer"]

        def objective(w: Params, held: Params, batch: Batch) -> tuple[Tensor, Params]:
            with buffers_handed() as handed:
                value = loss({**fixed, **held, **w}, batch)
            return value, {name: new.detach() for name, new in handed.items() if name in held}

        gradient = gradient_of(objective)
        for number, batch in enumerate(batches):
            real = batch["mask"].sum() > 0
            with training_step(ctx.fold(number)) if training else nullcontext():
                slope, handed = gradient(w, held, batch)
            d, new = optimizer.direction(state, slope, w, UNSCHEDULED)  # (1)
            pairs = zip(tree_leaves(new), tree_leaves(state), strict=True)
            state = tree_unflatten(new, [torch.where(real, one, other) for one, other in pairs])
            step = -lr * real.float()
            w = {name: torch.addcmul(value, step, d[name]) for name, value in w.items()}  # (2)
            held = {name: torch.where(real, handed.get(name, value), value) for name, value in held.items()}
        return {"own": {**private["own"], **w, **held}, "optimizer": state}

    return advance


def descend(
    engine: Engine,
    function: ClientFn,
    models: NewModels,
    trained: frozenset[str],
    optimizer: Optimizer,
    rows: ShardRows,
    clients: NDArray[np.int64],
    owned: TaskSet,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    purpose: str,
    drawing: bool,
) -> NewModels:
    """Return the models of K clients after some steps on their examples.

    Args:
        engine: runs the clients.
        function: made by ``descent``.
        models: at first.
        trained: as in ``descent``.
        optimizer: as in ``descent``.
        rows: the clients' examples, each with at least one.
        clients: ids, [K].
        owned: the clients' tasks.
        steps: of each client; an epoch follows the last in another order.
        batch_size: examples a step; a client with fewer takes all of them.
        seed, purpose: of orders, and of layers that draw.
        drawing: layers draw.
    """
    start = models.trains(trained, len(clients))
    moving = {name: value[0] for name, value in start.own.items() if name in trained and not is_buffer(name)}
    first = tree_map(lambda leaf: repeated(leaf, len(clients)), optimizer.init(moving))
    state: Any = {"own": dict(start.own), "optimizer": first}
    order = step_order(rows.size, clients, steps, batch_size, seed, purpose)
    for piece in range(0, steps, PIECE):
        cohort = Cohort(
            clients=clients.tolist(),
            function=function,
            downs=[{"common": start.common}],
            broadcast_index=np.zeros(len(clients), np.int64),
            private=state,
            steps=np.full(len(clients), PIECE),
            batches=partial(_batches, rows, order[:, piece : piece + PIECE]),
            owned=owned,
            context=context_rows(seed, piece, clients) if drawing else None,
        )
        state = engine.map([cohort])[0]
    return NewModels(start.common, state["own"])


def step_order(
    sizes: NDArray[np.int64], clients: NDArray[np.int64], steps: int, batch_size: int, seed: int, purpose: str
) -> NDArray[np.int32]:
    """Return the examples of each step, [K, steps, B], −1 for padding: epochs in random orders, cut into batches.

    Args:
        sizes: examples of each client, [K], each ≥ 1.
        clients: ids, [K].
        steps: of each client.
        batch_size: B, or the largest client's examples where these are fewer.
        seed, purpose: of the orders.
    """
    width = int(min(batch_size, sizes.max()))
    found = np.full((len(sizes), steps, width), -1, np.int32)
    for k, (size, client) in enumerate(zip(sizes.tolist(), clients.tolist(), strict=True)):
        batches = -(-size // width)
        epochs = -(-steps // batches)
        every = np.full((epochs, batches * width), -1, np.int32)
        every[:, :size] = np.arange(size)
        every[:, :size] = rng(seed, 0, client, purpose).permuted(every[:, :size], axis=1)
        found[k] = every.reshape(-1, width)[:steps]
    return found


def _batches(rows: ShardRows, order: NDArray[np.int32], some: NDArray[np.int64]) -> list[Batch]:
    """Cut the batches of some clients, ``PIECE`` of them, each [k, B, …]; those beyond the last step are padding."""
    index = np.full((len(some), PIECE, order.shape[2]), -1, np.int64)
    index[:, : order.shape[1]] = order[some]
    mask = torch.from_numpy(index >= 0).float()
    index = np.maximum(index, 0)
    places = torch.from_numpy(index + rows.start[some][:, None, None])
    arrays = {"x": rows.x, **{f"y.{task}": labels for task, labels in rows.y.items()}}
    return [
        {key: LazyRows(value, places[:, step].contiguous()).copy() for key, value in arrays.items()}
        | {"index": torch.from_numpy(np.ascontiguousarray(index[:, step])), "mask": mask[:, step].contiguous()}
        for step in range(PIECE)
    ]
