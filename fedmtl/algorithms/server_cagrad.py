"""ServerCAGrad: FedPer whose server steps where the client that gains least gains most, near the mean.

    Liu, Liu, Jin, Stone, Liu. NeurIPS 2021, Algorithm 1. arXiv:2110.14048

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)           epochs passes from (θ, φ_k)                 (1)
    Δ_k         = θ_k − θ,   g_0 = Σ n_k Δ_k / Σ n_k       on the server, from here on                 (2)
    U           = argmax_u min_k ⟨u, Δ_k⟩                  subject to ‖u − g_0‖ ≤ c ‖g_0‖              (3)
    θ          <- θ + U                                                                                (4)

The paper's vectors are gradients of tasks, all of weight 1 / K; here they are updates of clients, weighted as FedPer
weights them.

Down: θ.  Up: θ_k.  Private: φ_k.
"""

from dataclasses import dataclass
from functools import cached_property

from fedmtl.algorithms.common.checks import check_descent, check_fraction
from fedmtl.algorithms.common.named_setting import methods
from fedmtl.algorithms.server_gradient_surgery import ServerGradientSurgery
from fedmtl.optimizers import SGD, Optimizer
from fedmtl.weightings.cagrad import CAGrad


@dataclass(frozen=True)
class ServerCAGrad:
    """c = 0 is FedPer. The paper takes c of 0.2 to 0.8."""

    traits = ServerGradientSurgery.traits

    lr: float = 0.05
    """η."""
    epochs: int = 5
    c: float = 0.4
    """Largest distance of the step from the mean, in lengths of the mean."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_fraction(self, c=self.c)

    @cached_property
    def setting(self) -> ServerGradientSurgery:
        return ServerGradientSurgery(CAGrad(self.c), self.lr, self.epochs, self.optimizer)

    init_server, init_client, broadcast, local_update, aggregate, personal_params = methods()
    register_clients, diagnostics = methods("register_clients", "diagnostics")
