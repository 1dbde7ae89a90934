"""ServerPCGrad: FedPer whose server takes the conflicts out of the clients' updates before it averages them.

    Yu, Kumar, Gupta, Levine, Hausman, Finn. NeurIPS 2020, Algorithm 1. arXiv:2001.06782

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes from (θ, φ_k)                       (1)
    Δ_k         = θ_k − θ                            on the server, from here on                       (2)
    u_k        <- Δ_k made orthogonal to each Δ_j that it conflicts with, ⟨u_k, Δ_j⟩ < 0              (3)
    θ          <- θ + Σ n_k u_k / Σ n_k                                                                (4)

The order in which u_k meets the Δ_j is drawn anew each round, by the experiment's seed. The paper's vectors are
gradients of tasks; here they are updates of clients, and one that conflicts with none is FedPer's.

Down: θ.  Up: θ_k.  Private: φ_k.
"""

from dataclasses import dataclass
from functools import cached_property

from fedmtl.algorithms.common.checks import check_descent
from fedmtl.algorithms.common.named_setting import methods
from fedmtl.algorithms.server_gradient_surgery import ServerGradientSurgery
from fedmtl.optimizers import SGD, Optimizer
from fedmtl.weightings.pcgrad import PCGrad


@dataclass(frozen=True)
class ServerPCGrad:
    """FedPer where no two updates point against each other."""

    traits = ServerGradientSurgery.traits

    lr: float = 0.05
    """η."""
    epochs: int = 5
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)

    @cached_property
    def setting(self) -> ServerGradientSurgery:
        return ServerGradientSurgery(PCGrad(), self.lr, self.epochs, self.optimizer)

    init_server, init_client, broadcast, local_update, aggregate, personal_params = methods()
    register_clients, diagnostics = methods("register_clients", "diagnostics")
