"""The runtime ``Ray``. Ray itself is imported when a run begins."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmtl.core.bounds import check_int, check_text, shown
from fedmtl.runtime.base import RuntimeTraits, check_fields

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from fedmtl.data.base import Federation
    from fedmtl.runs.experiment import Experiment

MOST_WORKERS = 10_000

MOST_GPUS = 1024


@dataclass(frozen=True)
class Ray:
    """Nodes in Ray actors, on this machine or a cluster, each with its share of the clients."""

    workers: int = 2
    """Ray actors."""
    gpus_per_worker: float = 0.0
    """GPUs of an actor, on which its engine then trains; fractions share one."""
    address: str = ""
    """A Ray cluster to join, such as "auto" or "ray://host:10001"; empty starts one here."""
    state_dir: str = ""
    """Folder for durable private state, on a disk that all machines share; empty: in the run's folder."""
    wait_seconds: float = 120.0
    """Longest wait for nodes that host all clients."""
    round_seconds: float = 3600.0
    """Longest wait for the replies of a round."""

    def __post_init__(self) -> None:
        check_fields(self, seconds=("wait_seconds", "round_seconds"))
        check_int("workers", self.workers, 1, MOST_WORKERS)
        if not 0 <= self.gpus_per_worker <= MOST_GPUS:
            raise ValueError(f"gpus_per_worker is 0 or more, got {shown(self.gpus_per_worker)}; at most {MOST_GPUS}.")
        check_text("address", self.address)
        check_text("state_dir", self.state_dir)

    @property
    def traits(self) -> RuntimeTraits:
        exclusive = f"gpus_per_worker = {self.gpus_per_worker!r}" if self.gpus_per_worker else ""
        exclusive = exclusive or (f"address = {self.address!r}" if self.address else "")
        return RuntimeTraits(several_machines=bool(self.address), exclusive=exclusive)

    @property
    def device(self) -> str:
        return "cuda" if self.gpus_per_worker > 0 else ""

    def prepare(self) -> None:
        if not self.address:
            from fedmtl.runtime.ray.background import start_in_background

            start_in_background()  # Ray's processes start while this one imports torch

    def nodes(self, clients: int) -> int:
        return min(self.workers, clients)

    def open(self, experiment: "Experiment", federation: "Federation", state_folder: str | None) -> "Grid":
        from fedmtl.core.gc_paused import gc_paused
        from fedmtl.runtime.ray.pool import acquire

        # The actors import while this process does.
        acquire(self.address, self.workers, self.gpus_per_worker, self.nodes(len(federation.clients)))
        with gc_paused():
            from fedmtl.runtime.ray.grid import RayGrid
        return RayGrid(experiment, federation, state_folder)
