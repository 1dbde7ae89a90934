"""Adapters: low-rank updates of frozen weights, and the names of their numbers.

    W_k = W + s (B_k A_k + M)          W [out, in] frozen, A [r, in], B [out, r], M [out, in] or nothing

They lie among the parameters of a model and are named after their weight: ``trunk.1.weight_lora_A``. M is what an
algorithm has merged into a weight, ``trunk.1.weight_lora_merged``; no model begins with one.
"""

from torch import Tensor

from fedmtl.core.types import Params

A = "_lora_A"
B = "_lora_B"
MERGED = "_lora_merged"


def adapted_weights(params: Params) -> list[str]:
    """Return the names of the weights of which both factors are among the parameters, sorted.

    >>> adapted_weights({"trunk.1.weight_lora_A": ..., "trunk.1.weight_lora_B": ..., "trunk.1.bias": ...})
    ['trunk.1.weight']
    """
    found = (name.removesuffix(A) for name in params if name.endswith(A))
    return sorted(weight for weight in found if weight + B in params)


def without(params: Params, weights: list[str], *ends: str) -> dict[str, Tensor]:
    """Return the parameters without those of these weights that have one of these ends, such as ``A``."""
    left_out = {weight + end for weight in weights for end in ends}
    return {name: value for name, value in params.items() if name not in left_out}
