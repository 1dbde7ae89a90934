"""How many clients to stack: measured once for a kind of work on a machine, then remembered.

Too few, and the overhead of operations is all there is; too many, and a step's tensors leave the cache. Results depend
on the choice by float rounding. So that workers, and a run and its continuation, choose alike, the first measurement is
written down and taken by all.
"""

import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmtl.core.files import write_atomic
from fedmtl.core.machine import machine
from fedmtl.core.own_cache import is_own, own_cache
from fedmtl.core.trees import tree_leaves, tree_map
from fedmtl.engines.base import Cohort
from fedmtl.engines.batching.gather import Rows, gather, shapes
from fedmtl.engines.device import gather_rows, to_device, to_tensor
from fedmtl.engines.kernels import lifted_layers
from fedmtl.engines.trace.batched_function import Lifted

BUDGET_S = 0.3
"""Seconds that a measurement may take, save its first call."""

GPU_BUDGET_S = 3.0
"""The same on a GPU, whose kernels are loaded at the first call of each shape."""

_CACHE_BYTES = 2**20
"""What a step's parameters and data may fill; the middle of the candidates is about that."""


MOST_STACKED = 4096
"""Clients at once."""

_MOST_BYTES = 2**16
"""Of a note."""


def candidates(bytes_of_one: int) -> tuple[int, ...]:
    """Sizes of chunks worth trying for clients whose parameters and batch take so many bytes, ascending."""
    least = 4
    while 2 * least * bytes_of_one <= _CACHE_BYTES and least < 64:
        least *= 2
    return least, 2 * least, 4 * least


def remembered(kind: Mapping[str, Any], measure: Callable[[], int]) -> int:
    """The number that was found for this kind of work on this machine; measured and written down the first time."""
    picture = json.dumps({**kind, "machine": machine(), "torch": torch.__version__}, sort_keys=True, default=str)
    name = f"{hashlib.sha256(picture.encode()).hexdigest()[:32]}.json"
    try:
        path = own_cache("tuning") / name
    except OSError:  # a folder that cannot be made, or that is another user's
        return measure()
    known = _read(path)
    if known is not None:
        return known
    chunk = measure()
    try:
        draft = path.with_name(f"{path.stem}.{os.getpid()}.draft")
        write_atomic(draft, json.dumps({"chunk": chunk, **json.loads(picture)}, indent=1).encode(), fsync=False)
        draft.chmod(0o600)
        try:
            os.link(draft, path)  # unlike a rename, fails where another was first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError:  # a folder that cannot be written, a disk without links: nothing is remembered
        return chunk
    return _read(path) or chunk


def _read(path: Path) -> int | None:
    if not is_own(path, _MOST_BYTES):
        return None
    try:
        chunk = json.loads(path.read_text())["chunk"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return chunk if type(chunk) is int and 0 <= chunk <= MOST_STACKED else None


def name_of(function: Any) -> str:
    """A function's name and its object's type: the same in every process and for every learning rate."""
    function = inspect.unwrap(function)
    if isinstance(function, partial):
        return name_of(function.func)
    owner = getattr(function, "__self__", None)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{'' if owner is None else type(owner).__module__ + '.'}{named.__module__}.{named.__qualname__}"


def seconds_of(call: Callable[[], Any], budget: float, device: str = "cpu") -> float:
    """Return the shortest time of up to five calls: as many as the budget allows, at least one.

    On the CPU it is the time of this thread, since the clock counts the work of others too. A GPU works on when the
    call returns, so there it is the clock's when the work is done, after one call that loads the kernels.
    """
    times: list[float] = []
    clock = time.thread_time if device == "cpu" else partial(_clock, device)
    if device != "cpu":
        call()
    begin = time.perf_counter()
    while len(times) < 5 and (not times or time.perf_counter() - begin + times[-1] < budget):
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)


def _clock(device: str) -> float:
    if _is_cuda(device):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _is_cuda(device: str) -> bool:
    return torch.device(device).type == "cuda"


def chunk_for(cohort: Cohort, lifted: Lifted, device: str) -> int:
    """How many clients of this cohort to stack; 0 where a client alone is faster than in the best stack by a third."""
    if lifted.chunk is not None:
        return lifted.chunk
    order = np.argsort(cohort.steps, kind="stable")
    example = cohort.batches(order[-1:])
    bytes_of_one = sum(
        to_tensor(leaf).nbytes
        for tree in (cohort.downs[0], gather_rows(cohort.private, order[:1]), dict(example[0]))
        for leaf in tree_leaves(tree)
    )
    if device == "cpu":
        sizes = candidates(bytes_of_one)
    else:
        sizes = gpu_candidates(most_in_memory(bytes_of_one * len(example), device))
    if len(order) <= sizes[0]:
        return sizes[0]  # nothing to choose yet
    kind = {
        "function": name_of(cohort.function),
        "down": shapes(cohort.downs[0], 0),
        "private": shapes(cohort.private, 1),
        # The size of a batch belongs to the kind of work only where it is not the size of the client.
        "batch": shapes(dict(example[0]), 1 if cohort.steps.max() > 1 else 2),
    }
    if _is_cuda(device):
        kind["device"] = torch.cuda.get_device_name(device)
    lifted.chunk = remembered(kind, lambda: _measured(cohort, lifted, order, sizes, device))
    return lifted.chunk


def gpu_candidates(most: int) -> tuple[int, ...]:
    """Sizes of chunks worth trying on a GPU whose memory holds ``most`` clients, ascending, each four times the last.

    Small models gain up to the most: launches are what they cost. Stacked convolutions become grouped ones, which
    may be slower at any size than one client after another.
    """
    sizes = []
    while most > 4:
        sizes.append(most)
        most //= 4
    return tuple(reversed(sizes)) or (most,)


def most_in_memory(bytes_of_one: int, device: str) -> int:
    """On a GPU, where launches cost more than caches give: as many as fit if a step keeps 32 times its inputs."""
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST_STACKED, free // (32 * bytes_of_one)))


def _measured(cohort: Cohort, lifted: Lifted, order: Rows, sizes: Sequence[int], device: str) -> int:
    """Return the best size by one step of as many clients, since every step costs the same; of almost equal ones the
    largest."""
    budget = BUDGET_S if device == "cpu" else GPU_BUDGET_S
    begin, share = time.perf_counter(), budget / (2 * len(sizes))
    down = to_device(cohort.downs[int(cohort.broadcast_index[order[0]])], device)
    each: dict[int, float] = {}
    for size in sizes:
        if each and time.perf_counter() - begin > 0.7 * budget:
            break
        inputs = gather(cohort, np.resize(order, size), down, device)
        try:
            call = lifted.quickest(inputs._replace(batches=inputs.batches[:1]))
            each[size] = seconds_of(call, share, device) / size
        except torch.OutOfMemoryError:
            if not each:
                raise
            break
    one = gather(cohort, order[:1], None, device)
    own, private, batches = tree_map(lambda leaf: leaf[0], (one.down, one.private, one.batches[:1]))
    with nullcontext() if device == "cpu" else lifted_layers():
        alone = seconds_of(lambda: cohort.function(own, private, batches), share, device)
    least = min(each.values())
    return max(size for size in each if each[size] <= 1.05 * least) if 4 * alone > 3 * least else 0
