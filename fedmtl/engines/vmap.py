"""The cohort engine: many clients in one call."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fedmtl.core.trees import tree_map
from fedmtl.engines.allocator import keep_freed_memory
from fedmtl.engines.base import ClientFn, Cohort, TaskPadding
from fedmtl.engines.batching.chunks import alone, exact, pieces, singly
from fedmtl.engines.batching.gather import ResultAssembler, Rows, gather, groups
from fedmtl.engines.batching.task_padding import group, unpad
from fedmtl.engines.device import one_thread
from fedmtl.engines.loop import Loop, run_one
from fedmtl.engines.trace.batched_function import Lifted, keep
from fedmtl.engines.tuning import chunk_for, name_of

log = logging.getLogger(__name__)

MAX_FUNCTIONS = 32
"""Functions whose recordings one engine keeps."""

NATIVE_CHUNK = 1024
"""Clients a call of native code: it goes through them one by one, so that a stack of any size stays in the cache."""

COMPILE_AFTER_S = 15.0
"""Seconds that a recording has run for when its compilation may be worth as many."""


@dataclass(frozen=True)
class VMap:
    """Clients are sorted by number of steps, cut into chunks and run stacked.

    Ragged clients are padded inside a chunk, all with mask 0, which a pure function that keeps the rules of
    ``Algorithm.local_update`` does not notice. A function that cannot be lifted, or is slower lifted, runs client by
    client, which is said once.
    """

    chunk: int | None = None
    """Clients stacked at most; more fill the cache. None: measured once for each kind of work, and remembered."""
    device: str = "cpu"
    """Where clients are trained; results come back to the CPU."""
    compile: bool = False
    """Hand calls that have run for long to compilers, equal to rounding only: after a moment a C++ compiler, by which a
    round of small dense models takes two thirds of its time, or after some seconds torch's, for what is not written in
    C++ here."""
    _functions: dict[ClientFn, Lifted] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"VMap stacks at least one client, got chunk={self.chunk}; None lets it measure how many.")

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        keep_freed_memory()
        with one_thread():
            if padding is None or len({cohort.owned for cohort in cohorts}) < 2:
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
        lifted = self._lifted(cohort.function)
        result = None if lifted.refused else self._stacked(cohort, lifted)
        return Loop(self.device).map([cohort])[0] if lifted.refused else result

    def _stacked(self, cohort: Cohort, lifted: Lifted) -> Any:
        """The results; None when the function turns out to be refused."""
        running: Rows = np.arange(len(cohort.clients))
        results = ResultAssembler(len(cohort.clients), cohort.output_buffers)
        try:
            chunk = self.chunk or chunk_for(cohort, lifted, self.device)
            if chunk == 0:
                return self._refuse(lifted, "that is faster here than stacking clients")
            for down, rows in groups(cohort, chunk, self.device):
                single = alone(cohort.steps[rows], chunk) if self.chunk is None and not lifted.native else 0
                cut = exact(len(rows), NATIVE_CHUNK) if lifted.native else pieces(len(rows) - single, chunk)
                for start, stop, size in [*cut, *singly(len(rows) - single, len(rows))]:
                    running = rows[start:stop]
                    padded = np.concatenate([running, np.repeat(running[-1:], size - len(running))])
                    inputs = gather(cohort, padded, down, self.device, lazy=bool(lifted.native))
                    results.put(running, lifted(inputs, results.buffers if inputs.whole else None))
        except Exception as error:
            return self._refuse(lifted, self._limit(error, cohort, running))
        return results.tree()

    def _limit(self, error: Exception, cohort: Cohort, running: Rows) -> str:
        """What stands in the way of stacking.

        Raises:
            Exception: the error, when it is the function's own, or one that the loop would only hide.
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

    def _refuse(self, lifted: Lifted, reason: str) -> None:
        lifted.refused = True
        log.warning("%s runs client by client: %s", name_of(lifted.function), reason)

    def _lifted(self, function: ClientFn) -> Lifted:
        if function not in self._functions:
            lifted = Lifted(function, COMPILE_AFTER_S if self.compile else math.inf)
            keep(self._functions, function, lifted, MAX_FUNCTIONS)
        return self._functions[function]
