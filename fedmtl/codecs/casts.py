"""Casts to the short floats of torch, and back: torch is imported at the first one, for codecs come without it."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_bytes(x: NDArray[np.float32], kind: str) -> NDArray[np.uint8]:
    """Round to nearest, ties to even; return the bytes of each number, little-endian, in the last axis.

    Args:
        x: contiguous and writable, [..., n].
        kind: the name of a dtype of torch, such as ``bfloat16``.
    """
    import torch

    return torch.from_numpy(x).to(getattr(torch, kind)).view(torch.uint8).numpy()


@cache
def values(kind: str) -> NDArray[np.float32]:
    """Return the number that each byte stands for, of a dtype of torch with 8 bits, [256]."""
    import torch

    found: Any = torch.arange(256, dtype=torch.uint8).view(getattr(torch, kind)).to(torch.float32).numpy()
    found.setflags(write=False)
    return found
