"""Task: the protocol that every kind of prediction fulfils."""

from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor

from fedmtl.tasks.traits import TaskTraits


class Task(Protocol):
    """One kind of prediction: its head size, its loss, its metric and which way is better.

    Implementations are frozen dataclasses, final. Labels are float32 inside the library, with NaN for
    "not labelled"; classes are whole numbers stored as floats (exact below 2**24). All functions of
    tensors are pure and safe under ``torch.vmap``: no data-dependent control flow.

    The metric is computed from *sums*, an additive vector of sufficient statistics whose first entry is
    the number of labelled examples. So the metric of a client, of a set of clients and of all clients come
    from the same numbers, exactly.

    ``traits`` declares which of the optional methods ``mixed``, ``decode`` and ``possible_sums`` there are, see
    ``TaskTraits``.
    """

    @property
    def traits(self) -> TaskTraits:
        """A class attribute, ``traits = TaskTraits()``, or a property."""
        ...

    @property
    def outputs(self) -> int | tuple[int, ...]:
        """Size of the head's output [B, outputs], or its shape without B: (classes, height, width) for a map."""
        ...

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of one example's label: () for a number, (outputs,) for a vector, (height, width) for a map."""
        ...

    @property
    def metric_name(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        """Check raw labels and give them as float32, [N, *label_shape], NaN where not labelled.

        Raises:
            ValueError: a label that this task cannot have; the message names it, the rule and the way out.
        """
        ...

    def loss(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Mean loss over the labelled, unmasked examples, a scalar; 0 with zero gradient when there is none.

        Args:
            output: what the head gives, [B, outputs] or [B, *outputs].
            y: labels, [B, *label_shape], NaN where not labelled.
            mask: 1 for a real example, 0 for padding, [B].
        """
        ...

    def sums(self, output: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Sufficient statistics of the metric over the labelled, unmasked examples, [s] float64; first the count."""
        ...

    def metric(self, sums: NDArray[Any]) -> float:
        """The metric, in its own unit; NaN when nothing was labelled."""
        ...

    def score(self, sums: NDArray[Any]) -> float:
        """A number for means over unlike tasks: more is better, 1 is perfect; NaN when nothing was labelled."""
        ...


def output_shape(outputs: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a head's output without B, for ``Task.outputs``.

    >>> output_shape(3), output_shape((3, 8, 8))
    ((3,), (3, 8, 8))
    """
    return (outputs,) if isinstance(outputs, int) else outputs
