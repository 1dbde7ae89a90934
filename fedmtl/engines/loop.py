"""The reference engine: clients one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedmtl.engines.place import one_thread, to_device
from fedmtl.federation.job import Job, Wide


@dataclass(frozen=True)
class Loop:
    """Nothing is batched, nothing is padded; an error says which client it came from."""

    device: str = "cpu"
    """Where clients are trained; results come back to the CPU."""

    def map(self, jobs: Sequence[Job], wide: Wide | None = None) -> list[Any]:
        results = []
        with one_thread():
            for job in jobs:
                try:
                    down, private, batches = to_device((job.down, job.private, list(job.batches)), self.device)
                    results.append(to_device(job.function(down, private, batches), "cpu"))
                except Exception as error:
                    error.add_note(f"while running client {job.client}")
                    raise
        return results
