"""The examples of one client."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fedmtl.core.types import TaskSet


class Split(NamedTuple):
    """Examples of one client.

    x: inputs, float32 [N, *input_shape] (int64 for tokens).
    y: task name -> labels, float32 [N] or [N, outputs], NaN where not labelled.
    """

    x: NDArray[Any]
    y: Mapping[str, NDArray[Any]]


class ClientData(NamedTuple):
    """Examples of one client: those that it trains on and those that it is measured on."""

    train: Split
    test: Split

    @property
    def tasks(self) -> TaskSet:
        """The tasks that this client owns."""
        return tuple(sorted(self.train.y))
