"""Products of many small matrices, by numpy's BLAS.

torch's own library needs several microseconds to start a product, longer than a client's small matrices take. numpy
calls OpenBLAS, whose kernels for small matrices were measured at 1.5 to 2 times as many products a second (256 products
of 16×64 by 64×32: 165 against 250 µs on AVX-512).
"""

import numpy as np
import torch
from torch import Tensor

SMALL = 2**18
"""Most multiplications of a product by numpy: beyond, the start is negligible, and OpenBLAS would start threads."""


def batched_product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``torch.bmm``, to rounding: [K, M, N] of [K, M, L] and [K, L, N]."""
    _, rows, inner = a.shape
    columns = b.shape[2]
    if not (
        0 < rows * inner * columns <= SMALL
        and a.device.type == "cpu"
        and a.dtype == torch.float32
        and _has_blas_layout(a, b)
    ):
        # The overload with ``out``, since this function replaces the other one.
        return torch.bmm(a, b, out=torch.empty((len(a), rows, columns), dtype=a.dtype, device=a.device))
    product = torch.empty((len(a), rows, columns))
    np.matmul(_array(a), _array(b), out=product.numpy())
    return product


def _has_blas_layout(*tensors: Tensor) -> bool:
    """Return True if BLAS needs no copy: numbers are adjacent along one of the last two dimensions."""
    for tensor in tensors:
        _, one, two = tensor.stride()
        _, rows, columns = tensor.shape
        if not ((two == 1 and one >= columns) or (one == 1 and two >= rows)):
            return False
    return True


def _array(tensor: Tensor) -> np.ndarray:
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()
