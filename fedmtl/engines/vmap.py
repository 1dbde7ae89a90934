"""The cohort engine, which runs many clients in one call."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.core.bounds import check_int
from fedmtl.core.field_types import check_type
from fedmtl.core.threads import one_thread
from fedmtl.core.trees import tree_map
from fedmtl.engines.allocator import keep_freed_memory
from fedmtl.engines.base import ClientFn, Cohort, TaskPadding
from fedmtl.engines.batching.chunks import Piece, alone, exact, pieces, singly
from fedmtl.engines.batching.gather import GatheredRows, ResultAssembler, gather, groups
from fedmtl.engines.batching.large import by_steps, is_large, large_chunk
from fedmtl.engines.batching.streamed import AT_ONCE, bounded
from fedmtl.engines.batching.task_padding import group, unpad
from fedmtl.engines.device import check_device
from fedmtl.engines.dynamo import postpone_dynamo
from fedmtl.engines.loop import Loop, run_one
from fedmtl.engines.trace.batched_function import BatchedFunction
from fedmtl.engines.trace.signature import keep
from fedmtl.engines.traits import EngineTraits
from fedmtl.engines.tuning import chunk_for, name_of

log = logging.getLogger(__name__)

postpone_dynamo()

MOST_CHUNK = 1_000_000

MAX_FUNCTIONS = 32
"""Most functions whose graphs one engine keeps."""

NATIVE_CHUNK = 1024
"""Clients a call of native code, which runs them one by one, so that stacks of any size stay in the cache."""

COMPILE_AFTER_S = 15.0
"""Seconds of replays of a graph after which its compilation, which takes as long, may pay."""


@dataclass(frozen=True)
class VMap:
    """Runs clients stacked, in chunks of clients with similar numbers of steps.

    Ragged clients are padded inside a chunk with mask 0, which leaves the results of a pure function that follows
    ``Algorithm.local_update`` unchanged. A function that cannot be stacked, or is slower stacked, runs client by
    client; one warning reports it.
    """

    chunk: int = 0
    """Most clients in a stack; more fill the cache. 0: measured once for each kind of work, and cached on disk."""
    device: str = "cpu"
    """The device that clients are trained on; results are copied to the CPU."""
    compile: bool = False
    """Compile calls that have run for long; results are equal to rounding only. C++ comes after a moment, and a round
    of small dense models then takes two thirds of its time. Torch's compiler comes after some seconds, for operations
    without C++."""
    traits = EngineTraits()
    _functions: dict[ClientFn, BatchedFunction] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_type("chunk", self.chunk, int)
        check_type("compile", self.compile, bool)
        check_int("chunk", self.chunk, 0, MOST_CHUNK, "0 lets it measure how many")
        check_device(self.device)

    def on(self, device: str) -> "VMap":
        return replace(self, device=device)

    def report(self) -> dict[str, str]:
        """Return how each function has run so far: stacked, and in what stage, or client by client and the reason."""
        return {name_of(each.function): each.refusal or each.describe() for each in self._functions.values()}

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        keep_freed_memory()
        with one_thread():
            if padding is None or len({cohort.owned for cohort in cohorts}) < 2 or _streams(cohorts):
                return [self._run(cohort) for cohort in cohorts]
            results: list[Any] = [None] * len(cohorts)
            for numbers, joined in group(cohorts, padding):
                stacked, start = self._run(joined), 0
                for number in numbers:
                    rows = slice(start, start + len(cohorts[number].clients))
                    part = tree_map(lambda leaf, rows=rows: leaf[rows], stacked)
                    results[number] = unpad(part, cohorts[number].owned, padding)
                    start = rows.stop
            return results

    def _run(self, cohort: Cohort) -> Any:
        if not len(cohort.clients):
            return None
        batched = self._batched(cohort.function)
        result = None if batched.refused else self._stacked(cohort, batched)
        return Loop(self.device).map([cohort])[0] if batched.refused else result

    def _stacked(self, cohort: Cohort, batched: BatchedFunction) -> Any:
        """Return the results; None if the function is refused."""
        running: GatheredRows = np.arange(len(cohort.clients))
        results = ResultAssembler(len(cohort.clients), cohort.output_buffers)
        try:
            large = is_large(cohort, self.device)
            chunk = self.chunk or (large_chunk(cohort) if large else chunk_for(cohort, batched, self.device))
            if chunk == 0:
                return self._refuse(batched, "that is faster here than stacking clients")
            for down, rows in groups(cohort, chunk, self.device):
                cut = self._cut(batched, cohort.steps[rows], chunk, large)
                reads = cohort.bytes_read
                for start, stop, size in cut if reads is None else bounded(cut, reads[rows]):
                    running = rows[start:stop]
                    if reads is not None and reads[running[0]] > AT_ONCE:
                        alone_now = run_one(cohort, int(running[0]), self.device)
                        results.put(running, tree_map(lambda leaf: torch.as_tensor(leaf)[None], alone_now))
                        continue
                    padded = np.concatenate([running, np.repeat(running[-1:], size - len(running))])
                    inputs = gather(cohort, padded, down, self.device, lazy=bool(batched.native), large=large)
                    results.put(running, batched(inputs, results.buffers if inputs.whole else None))
        except Exception as error:
            return self._refuse(batched, self._limit(error, cohort, running))
        return results.tree()

    def _cut(self, batched: BatchedFunction, steps: NDArray[np.int64], chunk: int, large: bool) -> list[Piece]:
        """Return the stacks of clients whose numbers of steps, ascending, are given."""
        if large:
            return [*by_steps(steps, chunk)]
        if batched.native:
            return [*exact(len(steps), NATIVE_CHUNK)]
        single = 0 if self.chunk else alone(steps, chunk)
        return [*pieces(len(steps) - single, chunk), *singly(len(steps) - single, len(steps))]

    def _limit(self, error: Exception, cohort: Cohort, running: GatheredRows) -> str:
        """Return the reason why a function cannot be stacked.

        Raises:
            Exception: the error itself, if the function alone raises it too, or the loop would hide it.
        """
        clients = [cohort.clients[row] for row in running]
        error.add_note(f"while running clients {clients} together; engine='loop' runs them singly")
        if isinstance(error, torch.OutOfMemoryError) or "randomness" in str(error):
            raise error
        try:
            run_one(cohort, int(running[0]), self.device)
        except Exception:
            raise error from None
        return f"torch.vmap cannot stack it: {str(error).strip().splitlines()[0]}"

    def _refuse(self, batched: BatchedFunction, reason: str) -> None:
        batched.refusal = f"client by client: {reason}"
        log.warning("%s runs %s", name_of(batched.function), batched.refusal)

    def _batched(self, function: ClientFn) -> BatchedFunction:
        if function not in self._functions:
            batched = BatchedFunction(function, COMPILE_AFTER_S if self.compile else math.inf)
            keep(self._functions, function, batched, MAX_FUNCTIONS)
        return self._functions[function]


def _streams(cohorts: Sequence[Cohort]) -> bool:
    """Return True if a client reads its batches one by one, which no stack of padded clients can."""
    return any(cohort.bytes_read is not None and (cohort.bytes_read > AT_ONCE).any() for cohort in cohorts)
