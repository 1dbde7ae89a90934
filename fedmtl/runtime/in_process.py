"""The runtime ``InProcess``. Its name is not Local, which is an algorithm: clients that never communicate."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmtl.core.bounds import check_text
from fedmtl.runtime.base import RuntimeTraits, check_fields

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from fedmtl.data.base import Federation
    from fedmtl.runs.experiment import Experiment


@dataclass(frozen=True)
class InProcess:
    """One node in this process, with all clients: for small runs, tests, debugging and notebooks.

    The engine trains on its own device: ``engine = "VMap(device='cuda')"`` for the GPU.
    """

    state_dir: str = ""
    """Folder for durable private state; empty: in the run's folder, or with no folder, for the run only."""
    traits = RuntimeTraits()
    device = ""
    wait_seconds = float("inf")
    """The node is there before the server."""
    round_seconds = float("inf")

    def __post_init__(self) -> None:
        check_fields(self)
        check_text("state_dir", self.state_dir)

    def prepare(self) -> None:
        """Nothing starts."""

    def nodes(self, clients: int) -> int:
        return 1

    def open(self, experiment: "Experiment", federation: "Federation", state_folder: str | None) -> "Grid":
        from fedmtl.runtime.local import LocalGrid

        return LocalGrid(experiment, federation, state_folder)
