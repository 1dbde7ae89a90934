"""Lloyd-Max levels: the numbers that stand for a standard normal one with the least mean square error.

Max. Quantizing for minimum distortion. IRE Trans. Information Theory 1960, doi:10.1109/TIT.1960.1057548
Lloyd. Least squares quantization in PCM. IEEE Trans. Information Theory 1982, doi:10.1109/TIT.1982.1056489
"""

from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

NORMAL = NormalDist()


@cache
def lloyd_max(bits: int) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return the positive levels c [2^(bits - 1)], the bounds t between them, and the distortion D = E[(z - c(z))²].

    The negative levels are -c, so that 0 is a bound. Each level is the mean of its interval, each bound the middle of
    two levels, in turns until nothing moves:

        c_i = (φ(t_i) - φ(t_(i+1))) / (Φ(t_(i+1)) - Φ(t_i)),    t_i = (c_(i-1) + c_i) / 2        (1)

    As levels are means, E[z c(z)] = E[c(z)²], so D = 1 - Σ P_i c_i².

    >>> levels, _, distortion = lloyd_max(1)
    >>> bool(abs(levels[0] ** 2 - 2 / np.pi) < 1e-12), round(distortion, 4)
    (True, 0.3634)

    Raises:
        ValueError: bits beyond 4, with which the turns take long.
    """
    if not 1 <= bits <= 4:
        raise ValueError(f"Levels of 1 to 4 bits are computed here, got {bits}; take Int8 for more.")
    count = 2 ** (bits - 1)
    levels = np.arange(0.5, count) * (3.0 / count)
    while True:
        bounds = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        inside = np.diff([NORMAL.cdf(t) for t in bounds])
        means = -np.diff([NORMAL.pdf(t) for t in bounds]) / inside  # (1)
        if np.abs(means - levels).max() < 1e-13:
            return means, bounds[1:-1], float(1 - 2 * inside @ means**2)
        levels = means
