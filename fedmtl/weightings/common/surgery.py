"""Vectors that conflict, combined to one: of clients, or of the tasks of one client.

    Yu, Kumar, Gupta, Levine, Hausman, Finn. NeurIPS 2020, Algorithm 1 (PCGrad). arXiv:2001.06782
    Liu, Liu, Jin, Stone, Liu. NeurIPS 2021, Algorithm 1 (CAGrad). arXiv:2110.14048

K vectors Δ_k, rows of [K, d], and weights p_k that add up to 1. Both results are sums of the Δ_k, so all is decided on
their inner products, in float64, and the d numbers are read twice.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.weightings.common.simplex import conflict_averse

Array = NDArray[np.float64]


def gram(rows: Tensor) -> Array:
    """⟨Δ_k, Δ_l⟩, [K, K]."""
    wide = rows.double()
    return (wide @ wide.T).numpy()


def pcgrad(rows: Tensor, weights: Array, random: np.random.Generator) -> Tensor:
    """Each vector without its conflicts with the others, which it meets in random order; then the weighted mean:

        u_k <- u_k − ⟨u_k, Δ_j⟩ / ‖Δ_j‖² Δ_j   if ⟨u_k, Δ_j⟩ < 0,   for each j ≠ k, from u_k = Δ_k      (1)
        U   <- Σ p_k u_k                                                                              (2)

    Without a conflict, the weighted mean of the Δ_k. The paper adds up where (2) takes the mean.

    Returns:
        U [d], float64.
    """
    products = gram(rows)
    parts = np.eye(len(products))  # u_k = Σ_j parts_kj Δ_j
    for k, part in enumerate(parts):
        for j in random.permutation(np.delete(np.arange(len(products)), k)):
            conflict = part @ products[j]
            if conflict < 0:  # then Δ_j is not 0
                part[j] -= conflict / products[j, j]  # (1)
    return torch.from_numpy(weights @ parts) @ rows.double()  # (2)


def cagrad(rows: Tensor, weights: Array, c: float) -> Tensor:
    """The vector near the weighted mean that does most for the Δ_k that gains least:

        U = argmax_u min_k ⟨u, Δ_k⟩   subject to   ‖u − g_0‖ ≤ c ‖g_0‖,      g_0 = Σ p_k Δ_k           (1)

    by its dual, over the simplex:

        w = argmin_w ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖,      g_w = Σ w_k Δ_k                                  (2)
        U = g_0 + c ‖g_0‖ / ‖g_w‖ g_w                                                                 (3)

    c = 0 is the weighted mean, and so is U where the Δ_k cancel, ‖g_w‖ = 0: no direction helps all of them. (2) is
    solved exactly, see ``weightings.common.simplex``. Public implementations divide U by 1 + c²; the paper does not.

    Returns:
        U [d], float64.
    """
    p = torch.from_numpy(weights)
    if c and rows.numel():
        p, _ = conflict_averse(rows, p, c, eager=True)  # (2), (3)
    return p @ rows.double()
