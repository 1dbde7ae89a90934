"""DeviceClasses: a few kinds of devices, each with a speed, a power and a share of the clients."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.bounds import shown
from fedmtl.core.random import uniforms
from fedmtl.timing.checks import check_above, check_columns


@dataclass(frozen=True)
class DeviceClasses:
    """A client's class is drawn from its id and the seed, and stays.

    Speeds depend on the model: measure yours, as examples that one training pass takes in a second on the device. The
    defaults are round numbers for a small model on a desktop computer, a phone and a microcomputer. Where weak devices
    have narrow models, ``HeteroFL(widths={"device:board": 0.25, "*": 1})``, a class's speed is that with its own model.
    """

    speeds: tuple[float, ...] = (4000.0, 1000.0, 200.0)
    """Examples a second, forward and backward, of each class."""
    watts_of: tuple[float, ...] = (40.0, 4.0, 5.0)
    """Watts while training, of each class."""
    shares: tuple[float, ...] = (0.2, 0.5, 0.3)
    """Parts of the clients, of each class; scaled to sum to 1."""
    names: tuple[str, ...] = ()
    """Name of each class; empty for their numbers, 0, 1, …"""

    def __post_init__(self) -> None:
        for name in ("speeds", "watts_of", "shares", "names"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        check_columns(self, speeds=self.speeds, watts_of=self.watts_of, shares=self.shares)
        for speed in self.speeds:
            check_above(self, speeds=speed)
        check_above(self, **{"the sum of shares": sum(self.shares)})
        texts = isinstance(self.names, tuple) and all(isinstance(name, str) and name for name in self.names)
        if not texts or (self.names and len(set(self.names)) != len(self.speeds)):
            raise ValueError(
                f"DeviceClasses: names are different texts, one for each of the {len(self.speeds)} classes, or none, "
                f"got {shown(self.names)}."
            )

    def classes(self, seed: int, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the class of each client, [K]."""
        edges = np.cumsum(self.shares) / sum(self.shares)
        return np.searchsorted(edges[:-1], uniforms(seed, clients, 0, "class of a device"), "right")

    @property
    def all_names(self) -> tuple[str, ...]:
        """The name, or the number, of each class."""
        return self.names or tuple(map(str, range(len(self.speeds))))

    def seconds(self, seed: int, clients: NDArray[np.int64], examples: NDArray[np.float64]) -> NDArray[np.float64]:
        return examples / np.array(self.speeds)[self.classes(seed, clients)]

    def watts(self, seed: int, clients: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array(self.watts_of)[self.classes(seed, clients)]
