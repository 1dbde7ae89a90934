"""The reference engine, which runs clients one after another."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fedmtl.core.context import NO_CONTEXT, Context
from fedmtl.core.threads import one_thread
from fedmtl.core.trees import tree_leaves, tree_map, tree_unflatten
from fedmtl.engines.base import Cohort, TaskPadding
from fedmtl.engines.batching.streamed import StreamedBatches
from fedmtl.engines.device import check_device, gather_rows, to_device
from fedmtl.engines.kernels import batched_layers
from fedmtl.engines.traits import EngineTraits


@dataclass(frozen=True)
class Loop:
    """Runs one client at a time, without padding; errors name the client.

    A client's result is bit-identical to a direct call of the function, whatever other clients the cohort holds.
    """

    device: str = "cpu"
    """The device that clients are trained on; results are copied to the CPU."""
    traits = EngineTraits(bit_identical=True)

    def __post_init__(self) -> None:
        check_device(self.device)

    def on(self, device: str) -> "Loop":
        return Loop(device)

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        # On a GPU torch passes LSTM and GRU to a library that reads the weights' memory, which tensors inside a
        # transform do not have; the replacements of these layers need none.
        with one_thread(), nullcontext() if self.device == "cpu" else batched_layers():
            return [_stack([run_one(cohort, k, self.device) for k in range(len(cohort.clients))]) for cohort in cohorts]


def run_one(cohort: Cohort, k: int, device: str = "cpu") -> Any:
    """Return the result of one client, run alone, on the CPU."""
    try:
        row = np.array([k])
        # New memory, so that the result does not depend on a row's address or its neighbours.
        private, own = tree_map(lambda leaf: leaf[0], gather_rows((cohort.private, cohort.context), row))
        given = cohort.batches(row)
        if isinstance(given, StreamedBatches):
            batches: Any = given.map(lambda value: to_device(value[0].contiguous(), device))
        else:
            batches = [{key: value[0].contiguous() for key, value in batch.items()} for batch in given]
        inputs = (cohort.downs[cohort.broadcast_index[k]], private, batches, own)
        down, private, batches, own = to_device(inputs, device)
        ctx = NO_CONTEXT if own is None else Context(*own)
        return to_device(cohort.function(down, private, batches, ctx), "cpu")
    except Exception as error:
        error.add_note(f"while running client {cohort.clients[k]}")
        raise


def _stack(results: Sequence[Any]) -> Any:
    """Return K results as one tree whose leaves are tensors [K, …]; None for an empty cohort."""
    if not results:
        return None
    columns = zip(*(tree_leaves(result) for result in results), strict=True)
    return tree_unflatten(results[0], [torch.stack([torch.as_tensor(leaf) for leaf in column]) for column in columns])
