"""Random numbers of clients by index, in other distributions than the uniform one."""

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.random import uniforms


def normals(seed: int, clients: NDArray[np.int64], index: NDArray[np.int64] | int, purpose: str) -> NDArray[np.float64]:
    """Return a standard normal number for each client, as ``uniforms`` a function of its arguments alone, [K].

    z = √(−2 ln u) cos 2πv    (Box and Muller, Annals of Mathematical Statistics 29, 1958)
    """
    radius = np.sqrt(-2 * np.log(uniforms(seed, clients, index, f"{purpose}, radius")))
    return radius * np.cos(2 * np.pi * uniforms(seed, clients, index, f"{purpose}, angle"))
