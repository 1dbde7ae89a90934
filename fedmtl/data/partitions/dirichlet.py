"""Dirichlet: label skew; each class is dealt in shares of a Dirichlet distribution.

Yurochkin et al., Bayesian nonparametric federated learning of neural networks, ICML 2019, arXiv:1905.12022.

p_k ~ Dirichlet(α, …, α)        the shares of clients in the examples of class k        (1)
"""

from dataclasses import dataclass

import numpy as np

from fedmtl.data.partition import dirichlet
from fedmtl.data.partitions.base import Dealt, ExampleFacts, need_clients, need_labels


@dataclass(frozen=True)
class Dirichlet:
    """The smaller α, the less alike clients are: at 0.1 most have two or three classes, at 100 all of them."""

    alpha: float = 0.5
    """α, positive and finite."""
    min_size: int = 8
    """The fewest examples a client has; shares are drawn anew until all have them."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"Dirichlet takes a positive, finite alpha, got alpha={self.alpha}; IID() has no alpha.")
        if self.min_size < 1:
            raise ValueError(f"Dirichlet: a client has an example or more, got min_size={self.min_size}; use 1.")

    def deal(self, examples: ExampleFacts, clients: int, seed: int) -> Dealt:
        labels = need_labels(self, examples)
        need_clients(self, clients)
        classes = np.unique(labels, return_inverse=True)[1]
        return Dealt(dirichlet(classes, clients, self.alpha, self.min_size, seed))
