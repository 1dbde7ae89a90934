"""The number of clients to stack, measured once for each kind of work on a machine, then cached on disk.

With too few clients, the overhead of operations dominates; with too many, a step's tensors leave the cache. The choice
changes results by floating-point rounding. All workers, and a run and its continuation, read the first measurement, so
that they choose the same number.
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

from fedmtl.core.context import NO_CONTEXT, Context
from fedmtl.core.files import write_atomic
from fedmtl.core.machine import machine
from fedmtl.core.own_cache import is_own, own_cache
from fedmtl.core.trees import tree_leaves, tree_map
from fedmtl.engines.base import Cohort
from fedmtl.engines.batching.gather import GatheredRows, gather, shapes
from fedmtl.engines.device import gather_rows, to_device, to_tensor
from fedmtl.engines.kernels import batched_layers
from fedmtl.engines.trace.batched_function import BatchedFunction

BUDGET_S = 0.3
"""Most seconds of a measurement, without its first call."""

GPU_BUDGET_S = 3.0
"""Most seconds of a measurement on a GPU, whose kernels are loaded at the first call of each shape."""

_CACHE_BYTES = 2**20
"""Bytes of a step's parameters and data at the middle candidate."""


READ_CHUNK = 64
"""Clients in a stack whose inputs are on disk."""

MOST_STACKED = 4096
"""Most clients in a stack."""

_MOST_BYTES = 2**16
"""Largest file in the cache."""


def candidates(bytes_of_one: int) -> tuple[int, ...]:
    """Return candidate chunk sizes, ascending, for clients whose parameters and batch take ``bytes_of_one``."""
    least = 4
    while 2 * least * bytes_of_one <= _CACHE_BYTES and least < 64:
        least *= 2
    return least, 2 * least, 4 * least


def cached(kind: Mapping[str, Any], measure: Callable[[], int]) -> int:
    """Return the number for this kind of work on this machine, measured and stored the first time."""
    picture = json.dumps({**kind, "machine": machine(), "torch": torch.__version__}, sort_keys=True, default=str)
    name = f"{hashlib.sha256(picture.encode()).hexdigest()[:32]}.json"
    try:
        path = own_cache("tuning") / name
    except OSError:  # a folder that cannot be created, or of another user
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
            os.link(draft, path)  # unlike a rename, it fails where another process was first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError:  # a folder that cannot be written, or a disk without links: nothing is stored
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
    """Return a function's name and its object's type: the same in every process and for every learning rate."""
    function = inspect.unwrap(function)
    if isinstance(function, partial):
        return name_of(function.func)
    owner = getattr(function, "__self__", None)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{'' if owner is None else type(owner).__module__ + '.'}{named.__module__}.{named.__qualname__}"


def seconds_of(call: Callable[[], Any], budget: float, device: str = "cpu") -> float:
    """Return the shortest time of up to five calls, within the budget but at least one.

    On the CPU it is the time of this thread, since wall time includes the work of other processes. On a GPU it is the
    wall time until all kernels have ended, after one call that loads them.
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


def chunk_for(cohort: Cohort, batched: BatchedFunction, device: str) -> int:
    """Return the number of clients to stack; 0 if a client alone is faster than in the best stack by a third."""
    if batched.chunk is not None:
        return batched.chunk
    if cohort.bytes_read is not None:
        return READ_CHUNK  # a measurement would read many clients' examples
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
        return sizes[0]  # too few clients for a choice
    kind = {
        "function": name_of(cohort.function),
        "down": shapes(cohort.downs[0], 0),
        "private": shapes(cohort.private, 1),
        # The size of a batch belongs to the kind of work only where it is not the size of the client.
        "batch": shapes(dict(example[0]), 1 if cohort.steps.max() > 1 else 2),
    }
    if _is_cuda(device):
        kind["device"] = torch.cuda.get_device_name(device)
    batched.chunk = cached(kind, lambda: _measured(cohort, batched, order, sizes, device))
    return batched.chunk


def gpu_candidates(most: int) -> tuple[int, ...]:
    """Return candidate chunk sizes for a GPU whose memory holds ``most`` clients, ascending, each four times the last.

    Small models gain up to the largest size, since kernel launches dominate their time. Stacked convolutions become
    grouped ones, which may be slower at any size than one client after another.
    """
    sizes = []
    while most > 4:
        sizes.append(most)
        most //= 4
    return tuple(reversed(sizes)) or (most,)


def most_in_memory(bytes_of_one: int, device: str) -> int:
    """Return the number of clients that fit a GPU's memory if a step keeps 32 times its inputs."""
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST_STACKED, free // (32 * bytes_of_one)))


def _measured(cohort: Cohort, batched: BatchedFunction, order: GatheredRows, sizes: Sequence[int], device: str) -> int:
    """Return the size with the shortest time of one step a client; of almost equal ones the largest."""
    budget = BUDGET_S if device == "cpu" else GPU_BUDGET_S
    begin, share = time.perf_counter(), budget / (2 * len(sizes))
    down = to_device(cohort.downs[int(cohort.broadcast_index[order[0]])], device)
    each: dict[int, float] = {}
    for size in sizes:
        if each and time.perf_counter() - begin > 0.7 * budget:
            break
        inputs = gather(cohort, np.resize(order, size), down, device)
        try:
            call = batched.quickest(inputs._replace(batches=inputs.batches[:1]))
            each[size] = seconds_of(call, share, device) / size
        except torch.OutOfMemoryError:
            if not each:
                raise
            break
    one = gather(cohort, order[:1], None, device)
    own, private, batches, ctx = tree_map(lambda leaf: leaf[0], (one.down, one.private, one.batches[:1], one.context))
    ctx = NO_CONTEXT if ctx is None else Context(*ctx)
    with nullcontext() if device == "cpu" else batched_layers():
        alone = seconds_of(lambda: cohort.function(own, private, batches, ctx), share, device)
    least = min(each.values())
    return max(size for size in each if each[size] <= 1.05 * least) if 4 * alone > 3 * least else 0
