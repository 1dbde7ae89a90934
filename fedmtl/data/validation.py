"""Number of examples that each client holds out of its training part for validation."""

import numpy as np
from numpy.typing import NDArray


def valid_sizes(train: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """The examples that each client holds out, of those that it has: as for a test part, one at least, but not all.

    Args:
        train: training examples of each client, [K].
        fraction: of them, in [0, 1); 0 holds out none.

    Returns:
        round(fraction · n), at least 1 and at most n − 1, so that a client with a single example keeps it; [K].
    """
    if fraction == 0:
        return np.zeros_like(train)
    return np.clip(np.rint(fraction * train).astype(np.int64), np.minimum(1, train - 1), train - 1)


def example_counts(examples: NDArray[np.int64] | None, fraction: float) -> NDArray[np.int64] | None:
    """Training, test and validation examples of each client, [K, 3].

    Args:
        examples: as in ``Schema``: those that may be trained on, and test examples, [K, 2]; None: not known.
        fraction: as for ``valid_sizes``.
    """
    if examples is None:
        return None
    held = valid_sizes(examples[:, 0], fraction)
    return np.stack([examples[:, 0] - held, examples[:, 1], held], axis=1)
