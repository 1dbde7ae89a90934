"""The runtime ``Flower``: the one of every experiment that ``flwr run`` starts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmtl.runtime.base import RuntimeTraits, check_fields

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from fedmtl.data.base import Federation
    from fedmtl.runs.experiment import Experiment

STARTED_BY = "a run over Flower is started by 'flwr run', see fedmtl/runtime/README.md"


@dataclass(frozen=True)
class Flower:
    """Nodes of Flower's own: devices behind a SuperLink, or Flower's simulation. ``flwr run`` starts it, and only that.

    Where private state lies is each node's own: ``--node-config 'state-dir="…"'``.
    """

    wait_seconds: float = 120.0
    """Longest wait for nodes that host all clients."""
    round_seconds: float = 3600.0
    """Longest wait for the replies of a round."""
    traits = RuntimeTraits(several_machines=True, deployed=True)
    device = ""
    state_dir = ""

    def __post_init__(self) -> None:
        check_fields(self, seconds=("wait_seconds", "round_seconds"))

    def prepare(self) -> None:
        """Refuse: nothing can be started here.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"runtime {self!r}: {STARTED_BY}; with 'fedmtl run', take Ray or InProcess.")

    def nodes(self, clients: int) -> int:
        return clients

    def open(self, experiment: "Experiment", federation: "Federation", state_folder: str | None) -> "Grid":
        raise ValueError(f"runtime {self!r}: {STARTED_BY}; from Python, take Ray or InProcess.")
