"""Changes of heads, mixed with those of heads that change alike.

Lu, Huang, Yang, Sirejiding, Ding, Lu. CVPR 2024, equation 7. arXiv:2311.13250
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def attention(deltas: Mapping[tuple[str, str], Tensor]) -> dict[tuple[str, str], Tensor]:
    """softmax(Δ_k Δᵀ / √d) Δ, where Δ has a row for each tensor that is alike in name within its head and in shape.

    Args:
        deltas: changes by client and name of a head's tensor, ``head.<task>.<name within the head>``, of d numbers.
    """
    alike: dict[tuple[str, torch.Size], list[tuple[str, str]]] = {}
    for key, delta in deltas.items():
        alike.setdefault((key[1].split(".", 2)[2], delta.shape), []).append(key)
    found = {}
    for keys in alike.values():
        rows = torch.stack([deltas[key].reshape(-1) for key in keys])
        mixed = torch.softmax(rows @ rows.T / rows.shape[1] ** 0.5, dim=1) @ rows
        found |= {key: row.reshape(deltas[key].shape) for key, row in zip(keys, mixed, strict=True)}
    return found
