"""One row of the table of a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedmtl.analysis.curve import Metric
from fedmtl.analysis.groups import SeedFailure, status
from fedmtl.analysis.intervals import Estimate
from fedmtl.analysis.simulated import Spent


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment: means over the seeds that have finished and have not diverged, NaN where there is none.

    Bytes are means too, of whole runs, over all clients. The row of the best constants has no bytes.
    """

    problem: str
    name: str
    """Short, as in ``Group``."""
    label: str
    """In full."""
    seeds: tuple[int, ...]
    """All, also of runs that do not count."""
    failures: tuple[SeedFailure, ...]
    """The runs that do not count."""
    rounds: tuple[int, ...]
    """The last evaluated round of each seed; −1 where there is none."""
    passes: int | None
    """Local work: a client's passes over its examples, with gradients, in a round; None where that is not known."""
    batch_size: int | None
    """Examples a step; None for all of a client's."""
    metrics: Mapping[str, Metric]
    values: Mapping[str, Estimate]
    """Task -> its metric over all clients at the last round."""
    score: Estimate
    """Mean score over tasks: more is better, 1 is perfect."""
    train_loss: Estimate | None
    """Training loss of the last round, over all its clients; None where a run that counts has none."""
    down_bytes: float
    """Training bytes."""
    up_bytes: float
    evaluation_bytes: float
    target: float | None
    """The mean score that was asked for."""
    reached: int
    """Number of the seeds that count and reached the target."""
    bytes_to_target: float | None
    """Training bytes until then; None where a seed never came there, whose bytes no mean can hold."""
    simulated: Spent | None = None
    """Simulated seconds and joules of whole runs; None without a clock."""
    simulated_to_target: Spent | None = None
    """Those until the target, as ``bytes_to_target``."""

    @property
    def counted(self) -> int:
        """Number of seeds behind the means."""
        return len(self.seeds) - len(self.failures)

    @property
    def status(self) -> str:
        """As in ``Group``: ``2 of 3 seeds · 1 diverged at round 12``."""
        return status(len(self.seeds), self.failures)

    @property
    def training_bytes(self) -> float:
        """Both directions."""
        return self.down_bytes + self.up_bytes
