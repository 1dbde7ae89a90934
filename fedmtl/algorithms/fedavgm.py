"""FedAvgM: momentum on the server, around any algorithm that averages.

    Hsu, Qi, Brown. 2019, section 4.3. arXiv:1909.06335

With g = w − w̄ the pseudo-gradient, w̄ what the wrapped algorithm makes of the uploads:

    m <- βm + g            first 0            (1)
    w <- w − ηm                               (2)

Down / Up / Private: those of the wrapped algorithm.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fedmtl.algorithms.base import Algorithm
from fedmtl.algorithms.common.checks import check_fraction, check_lr
from fedmtl.algorithms.common.named_setting import methods
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.server_optimizer import ServerOptimizer, check_wrapped
from fedmtl.algorithms.traits import Traits
from fedmtl.core.types import Params
from fedmtl.optimizers import Momentum


@dataclass(frozen=True)
class FedAvgM:
    """momentum = 0 and server_lr = 1 are the wrapped algorithm, to rounding. The paper uses momentum 0.9."""

    algorithm: Algorithm[Params, Any] = FedAvg()
    """Algorithm on the clients, whose server takes means: FedAvg, FedProx, FedPer, FedRep."""
    server_lr: float = 1.0
    """η."""
    momentum: float = 0.9
    """β."""

    def __post_init__(self) -> None:
        check_wrapped(self, self.algorithm)
        check_lr(self, server_lr=self.server_lr)
        check_fraction(self, momentum=self.momentum)

    @cached_property
    def setting(self) -> ServerOptimizer:
        return ServerOptimizer(self.algorithm, Momentum(beta=self.momentum), self.server_lr)  # (1), (2)

    @property
    def traits(self) -> Traits:
        return self.setting.traits

    init_server, init_client, broadcast, local_update, aggregate, personal_params = methods()
    mixture, sent_models, newcomer_weights = methods("mixture", "sent_models", "newcomer_weights")
