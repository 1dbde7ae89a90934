"""FedAdam: Adam on the server, around any algorithm that averages.

    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. ICLR 2021, Algorithm 2. arXiv:2003.00295

With g = w − w̄ the pseudo-gradient, w̄ what the wrapped algorithm makes of the uploads:

    m <- β₁m + (1 − β₁)g                   first 0            (1)
    v <- β₂v + (1 − β₂)g²                  first τ²           (2)
    w <- w − ηm / (√v + τ)                                    (3)

number by number, without Adam's correction for the first steps.

Down / Up / Private: those of the wrapped algorithm.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fedmtl.algorithms.base import Algorithm
from fedmtl.algorithms.common.checks import check_fraction, check_lr, check_positive
from fedmtl.algorithms.common.named_setting import methods
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.server_optimizer import ServerOptimizer, check_wrapped
from fedmtl.algorithms.traits import Traits
from fedmtl.core.types import Params
from fedmtl.optimizers import Adam


@dataclass(frozen=True)
class FedAdam:
    """Steps in all numbers of about η, whatever the size of their pseudo-gradient. The paper tunes η and τ."""

    algorithm: Algorithm[Params, Any] = FedAvg()
    """Algorithm on the clients, whose server takes means: FedAvg, FedProx, FedPer, FedRep."""
    server_lr: float = 0.01
    """η."""
    beta1: float = 0.9
    """β₁."""
    beta2: float = 0.99
    """β₂."""
    tau: float = 0.001
    """τ: how small a pseudo-gradient counts as noise."""

    def __post_init__(self) -> None:
        check_wrapped(self, self.algorithm)
        check_lr(self, server_lr=self.server_lr)
        check_fraction(self, beta1=self.beta1, beta2=self.beta2)
        check_positive(self, tau=self.tau)

    @cached_property
    def setting(self) -> ServerOptimizer:
        return ServerOptimizer(self.algorithm, Adam(self.beta1, self.beta2, self.tau), self.server_lr)  # (1) to (3)

    @property
    def traits(self) -> Traits:
        return self.setting.traits

    init_server, init_client, broadcast, local_update, aggregate, personal_params = methods()
    mixture, sent_models, newcomer_weights = methods("mixture", "sent_models", "newcomer_weights")
