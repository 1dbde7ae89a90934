"""Models pulled along the edges of a graph, against the sum written out client by client."""

import numpy as np
import torch

from fedmtl.algorithms.common.laplacian import pull

EDGES = np.array([[0.0, 0.7, 0.1, 0.4], [0.2, 0.0, 0.5, 0.3], [0.6, 0.05, 0.0, 0.15], [0.35, 0.25, 0.45, 0.0]])
"""Of no two pairs alike, and not symmetric: another client's weight gives another number."""


def test_each_name_is_pulled_by_its_own_owners() -> None:
    """w_k <- w_k + Σ_l a_kl (w_l − w_k), l over the clients that have the name: the head is of the second and the
    fourth client alone, so that their places among its owners are not their places among all."""
    draw = np.random.default_rng(0)
    trunks = draw.standard_normal((4, 3))
    heads = {1: draw.standard_normal(2), 3: draw.standard_normal(2)}
    models = [{"trunk": torch.tensor(trunks[k], dtype=torch.float64)} for k in range(4)]
    for k, head in heads.items():
        models[k]["head"] = torch.tensor(head, dtype=torch.float64)
    moved = pull(models, torch.tensor(EDGES))
    for k in range(4):
        expected = trunks[k] + sum(EDGES[k, m] * (trunks[m] - trunks[k]) for m in range(4))
        np.testing.assert_allclose(moved[k]["trunk"].numpy(), expected, rtol=1e-12)
    for k, other in ((1, 3), (3, 1)):
        expected = heads[k] + EDGES[k, other] * (heads[other] - heads[k])
        np.testing.assert_allclose(moved[k]["head"].numpy(), expected, rtol=1e-12)
    assert "head" not in moved[0] and "head" not in moved[2]
