"""The protocol of optimizers, and the words and letters of their files.

w    the parameters that a call of ``fedmtl.algorithms.common.local_training.sgd`` trains; η its learning rate
g    the gradient of the objective at w, on one batch
d    the direction; ``sgd`` then does w <- w − ηd
s    the state: new at the start of every local update, as is common in federated learning; it is neither sent nor kept
t    the round, 0, 1, …: schedules are over rounds, so that all batches of a round have one learning rate
"""

from typing import Any, Protocol

from torch import Tensor

from fedmtl.core.types import Params
from fedmtl.optimizers.traits import OptimizerTraits


class Optimizer(Protocol):
    """A gradient's way to a direction. Pure, and fit for ``torch.vmap``; implementations are frozen dataclasses, final.

    Wrappers hold another in a field ``optimizer`` and change what goes into it or what comes out, so they nest. A batch
    without examples is the caller's matter: ``sgd`` then keeps w and s as they were.

    ``traits`` declares whether ``direction`` reads the round; wrappers copy the traits of their inner optimizer.
    """

    @property
    def traits(self) -> OptimizerTraits:
        """A class attribute, ``traits = OptimizerTraits()``, or a property."""
        ...

    def init(self, params: Params) -> Any:
        """s before the first batch: a tree of tensors."""
        ...

    def direction(self, state: Any, gradient: Params, params: Params, round: Tensor) -> tuple[Params, Any]:
        """d and the next s.

        Args:
            state: s.
            gradient: g.
            params: w.
            round: t, a scalar; 0 for optimisers that are not scheduled.
        """
        ...
