"""The cohort engine: clients of equal shapes in one call of ``torch.vmap``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedmtl.engines.place import one_thread, to_device
from fedmtl.engines.widen import narrow, widen
from fedmtl.federation.job import Job, Wide
from fedmtl.trees import leaves, rebuild, structure
from fedmtl.types import Batch


@dataclass(frozen=True)
class VMap:
    """Jobs are grouped by function and shapes, sorted by number of steps, cut into chunks and run stacked.

    Ragged clients are padded inside a chunk: short batches by rows and short epochs by batches, all with
    mask 0, which a pure function that keeps the rules of ``Algorithm.local_update`` does not notice.
    """

    chunk: int = 64
    """Clients stacked at most; more fill the cache."""
    device: str = "cpu"
    """Where clients are trained; results come back to the CPU."""

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"VMap stacks at least one client, got chunk={self.chunk}.")

    def map(self, jobs: Sequence[Job], wide: Wide | None = None) -> list[Any]:
        if wide is not None and len({job.owned for job in jobs}) > 1:
            results = self.map([widen(job, wide) for job in jobs])
            return [narrow(result, job.owned, wide) for job, result in zip(jobs, results, strict=True)]
        groups: dict[Any, list[int]] = {}
        for index, job in enumerate(jobs):
            key = (id(job.function), structure(job.down), structure(job.private), _row_shapes(job.batches[0]))
            groups.setdefault(key, []).append(index)
        results: list[Any] = [None] * len(jobs)
        with one_thread():
            for members in groups.values():
                members.sort(key=lambda i: (len(jobs[i].batches), len(jobs[i].batches[0]["mask"])))
                for start in range(0, len(members), self.chunk):
                    chunk = members[start : start + self.chunk]
                    for index, result in zip(chunk, run_stacked([jobs[i] for i in chunk], self.device), strict=True):
                        results[index] = result
        return results


def _row_shapes(batch: Batch) -> Any:
    return tuple((key, tuple(batch[key].shape[1:]), batch[key].dtype) for key in sorted(batch))


def run_stacked(jobs: Sequence[Job], device: str = "cpu") -> list[Any]:
    """One vmapped call for jobs of one function and equal shapes."""
    first = jobs[0]
    shared = all(job.down is first.down for job in jobs)
    down = leaves(first.down) if shared else _stack([leaves(job.down) for job in jobs])
    private = _stack([leaves(job.private) for job in jobs])
    batches = _stack_batches([job.batches for job in jobs])
    result_tree: list[Any] = []

    def flat(down: list[Tensor], private: list[Tensor], batches: list[dict[str, Tensor]]) -> tuple[Tensor, ...]:
        result = first.function(rebuild(first.down, down), rebuild(first.private, private), batches)
        result_tree[:] = [result]
        return tuple(torch.as_tensor(leaf) for leaf in leaves(result))

    try:
        # An empty tree has nothing to map over, and vmap refuses a dimension for it.
        in_dims = (None if shared or not down else 0, 0 if private else None, 0)
        stacked = torch.vmap(flat, in_dims=in_dims, randomness="error")(*to_device((down, private, batches), device))
    except Exception as error:
        error.add_note(f"while running clients {[job.client for job in jobs]} together; engine='loop' runs them singly")
        raise
    results = [leaf.cpu() for leaf in stacked]
    return [rebuild(result_tree[0], [leaf[k] for leaf in results]) for k in range(len(jobs))]


def _stack(rows: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [torch.stack([torch.as_tensor(leaf) for leaf in column]) for column in zip(*rows, strict=True)]


def _stack_batches(epochs: Sequence[Sequence[Batch]]) -> list[dict[str, Tensor]]:
    """Epochs of K clients -> steps of [K, B, …], padded with zeros under mask 0."""
    steps = max(len(batches) for batches in epochs)
    rows = max(len(batches[0]["mask"]) for batches in epochs)
    stacked: list[dict[str, Tensor]] = []
    for step in range(steps):
        batch: dict[str, Tensor] = {}
        for key, example in epochs[0][0].items():
            out = torch.zeros(len(epochs), rows, *example.shape[1:], dtype=example.dtype)
            for k, batches in enumerate(epochs):
                if step < len(batches):
                    out[k, : len(batches[step]["mask"])] = batches[step][key]
            batch[key] = out
        stacked.append(batch)
    return stacked
