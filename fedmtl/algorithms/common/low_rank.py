"""Adapters on the server: the mean of the clients' products, and what algorithms of adapters refuse."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.adapters import A, B, adapted_weights
from fedmtl.core.types import ClientId, Params, Upload


def weights_with_adapters(owner: Any, params: Params) -> list[str]:
    """Return the names of the weights that have adapters, sorted.

    Raises:
        ValueError: there is none.
    """
    found = adapted_weights(params)
    if not found:
        raise ValueError(
            f"{type(owner).__name__} aggregates adapters, but the model has none; wrap it, as in model=LoRA(MLP()), or "
            "use FedPer, which shares whole trunks."
        )
    return found


def mean_products(uploads: Iterable[tuple[ClientId, Upload]], record: str, weights: Sequence[str]) -> dict[str, Tensor]:
    """Σ n_k B_k A_k / Σ n_k of each weight over those that have it, [out, in] float64, client after client.

    Raises:
        ValueError: no upload.
    """
    sums: dict[str, Tensor] = {}
    totals: dict[str, float] = {}
    for _, upload in uploads:
        n, params = float(upload.num_examples), upload.payload[record]
        for weight in weights:
            if weight + A in params:
                product = n * params[weight + B].double() @ params[weight + A].double()
                sums[weight] = sums[weight] + product if weight in sums else product
                totals[weight] = totals.get(weight, 0.0) + n
    if not sums:
        raise ValueError("mean_products needs at least one client, got none; a round without an update has no mean.")
    return {weight: value / totals[weight] for weight, value in sums.items()}


def truncated(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B = U_r Σ_r [out, r] and A = V_rᵀ [r, in] of a product's largest singular values, the best of rank r.

    Of each row of A, the number that is farthest from 0 is positive: singular vectors are unique up to a sign.
    """
    u, s, v = torch.linalg.svd(product, full_matrices=False)
    u, s, v = u[:, :rank], s[:rank], v[:rank]
    sign = v.gather(1, v.abs().argmax(1, keepdim=True)).sign()
    return u * s * sign.T, v * sign
