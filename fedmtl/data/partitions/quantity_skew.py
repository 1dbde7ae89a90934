"""QuantitySkew: clients of unlike sizes, with examples drawn alike.

Li et al., Federated Learning on Non-IID Data Silos, ICDE 2022, section 4.3, arXiv:2102.02079.

p ~ Dirichlet(β, …, β)        or    p_c ∝ exp(σ z_c), z_c ~ N(0, 1)                                  (1)
n_c = m + p_c (N − K m)       rounded so that they add up to N, m the fewest examples a client has   (2)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import SERVER, rng
from fedmtl.data.partition import check_sizes
from fedmtl.data.partitions.base import Dealt, ExampleFacts, need_clients

KINDS = ("lognormal", "dirichlet")


@dataclass(frozen=True)
class QuantitySkew:
    """Flower's partitioners take sizes or a fixed law of them; these are random."""

    kind: str = "lognormal"
    """Law of the sizes: "lognormal" or "dirichlet"."""
    spread: float = 1.0
    """σ of the logarithm of a size, 0 for equal sizes; or β of the Dirichlet, whose sizes are more alike when large."""
    min_size: int = 2
    """The fewest examples a client has."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"QuantitySkew has the kinds {', '.join(KINDS)}, got kind={self.kind!r}.")
        least = "of at least 0" if self.kind == "lognormal" else "above 0"
        if not (np.isfinite(self.spread) and (self.spread > 0 or (self.spread == 0 and self.kind == "lognormal"))):
            raise ValueError(f"QuantitySkew: spread is a finite number {least}, got spread={self.spread}; use 1.0.")
        if self.min_size < 1:
            raise ValueError(f"QuantitySkew: a client has an example or more, got min_size={self.min_size}; use 2.")

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        need_clients(self, clients)
        check_sizes(examples.total, clients, self.min_size)
        draw = rng(seed, 0, SERVER, "partition")
        if self.kind == "dirichlet":
            shares = draw.dirichlet(np.full(clients, self.spread))
        else:
            logs = self.spread * draw.standard_normal(clients)
            shares = np.exp(logs - logs.max())  # without overflow
        sizes = self.min_size + rounded(shares / shares.sum() * (examples.total - clients * self.min_size))
        return Dealt(np.split(draw.permutation(examples.total), np.cumsum(sizes)[:-1]))


def rounded(parts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers with the sum of the parts: rounded down, and one more for those that lost most."""
    whole = np.floor(parts).astype(np.int64)
    rest = round(float(parts.sum())) - int(whole.sum())
    whole[np.argsort(whole - parts, kind="stable")[:rest]] += 1
    return whole
