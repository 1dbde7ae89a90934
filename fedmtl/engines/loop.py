"""The reference engine: clients one after another."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fedmtl.core.trees import tree_leaves, tree_map, tree_unflatten
from fedmtl.engines.base import Cohort, Wide
from fedmtl.engines.device import one_thread, take, to_device
from fedmtl.engines.kernels import lifted_layers


@dataclass(frozen=True)
class Loop:
    """Nothing is padded beyond a client's own batches; an error says which client it came from.

    A client's bits are those of the call itself, whoever else is in the cohort.
    """

    device: str = "cpu"
    """Where clients are trained; results come back to the CPU."""

    def map(self, cohorts: Sequence[Cohort], wide: Wide | None = None) -> list[Any]:
        # On a GPU torch hands LSTM and GRU to a library that reads the weights' memory, which tensors inside a
        # transform do not have; the layers' replacements need none.
        with one_thread(), nullcontext() if self.device == "cpu" else lifted_layers():
            return [_stack([run_one(cohort, k, self.device) for k in range(len(cohort.clients))]) for cohort in cohorts]


def run_one(cohort: Cohort, k: int, device: str = "cpu") -> Any:
    """The result of one client, called by itself, on the CPU."""
    try:
        row = np.array([k])
        # Memory of the client's own: what a row's address or its neighbours are must not show in the bits.
        private = tree_map(lambda leaf: leaf[0], take(cohort.private, row))
        batches = [{key: value[0].contiguous() for key, value in batch.items()} for batch in cohort.batches(row)]
        inputs = to_device((cohort.downs[cohort.which[k]], private, batches), device)
        return to_device(cohort.function(*inputs), "cpu")
    except Exception as error:
        error.add_note(f"while running client {cohort.clients[k]}")
        raise


def _stack(results: Sequence[Any]) -> Any:
    """K results as one whose leaves are tensors [K, …]; None for nobody."""
    if not results:
        return None
    columns = zip(*(tree_leaves(result) for result in results), strict=True)
    return tree_unflatten(results[0], [torch.stack([torch.as_tensor(leaf) for leaf in column]) for column in columns])
