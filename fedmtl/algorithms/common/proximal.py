"""Objectives with a pull to given parameters."""

from torch import Tensor

from fedmtl.algorithms.common.local_training import Objective
from fedmtl.core.trees import sq_distance
from fedmtl.core.types import Batch, LossFn, Params


def pulled(loss: LossFn, strength: float, to: Params) -> Objective:
    """Return f(w) + strength/2 ‖w − to‖², of which f is the client's training loss; buffers are not pulled."""

    def objective(w: Params, batch: Batch) -> tuple[Tensor, Tensor]:
        f = loss(w, batch)
        return f + strength / 2 * sq_distance(w, to), f

    return objective
