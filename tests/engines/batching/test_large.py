"""Large clients: which ones are, how many are stacked, and in which pieces."""

import numpy as np
import pytest
import torch

from fedmtl.engines.base import Cohort
from fedmtl.engines.batching.large import MOST, by_steps, is_large, large_chunk


def cohort(kernels: tuple[int, ...], matrix: tuple[int, ...] = (10, 10), side: int = 4, own: bool = False) -> Cohort:
    """Three clients of one convolution and one matrix, sent to them or their own, with a batch of 2 images."""
    params = {"convolution": torch.zeros(()).expand(kernels), "matrix": torch.zeros(()).expand(matrix)}  # no memory
    stacked = {name: value.expand(3, *value.shape) for name, value in params.items()}
    batch = {"x": torch.zeros(1, 2, 3, side, side)}
    return Cohort(
        clients=range(3),
        function=lambda *given: given,
        downs=[{} if own else {"model": params}],
        broadcast_index=np.zeros(3, np.int64),
        private=stacked if own else {},
        steps=np.array([1, 2, 1]),
        batches=lambda rows: [batch],
        owned=("a",),
    )


@pytest.mark.parametrize("own", [False, True])
def test_convolutions_make_a_client_large(own: bool) -> None:
    """2^18 numbers of 4 bytes are 1 MiB: kernels of 256 channels, 4 wide and as high, from 64 channels."""
    assert is_large(cohort((256, 64, 4, 4), own=own), "cpu")
    assert not is_large(cohort((255, 64, 4, 4), own=own), "cpu")
    assert not is_large(cohort((2, 2, 4, 4), (4096, 4096), own=own), "cpu")
    assert not is_large(cohort((256, 64, 4, 4), own=own), "cuda")


def test_a_stack_is_bounded_by_its_memory() -> None:
    """2^28 bytes of parameters and of 32 times the batch, and 2^25 of one parameter; at least one client."""
    assert large_chunk(cohort((256, 64, 4, 4))) == MOST
    assert large_chunk(cohort((512, 512, 3, 3))) == 2**25 // (512 * 512 * 9 * 4) == 3
    assert large_chunk(cohort((4096, 4096, 3, 3))) == 1
    image = 2 * 3 * 256 * 256 * 4
    assert large_chunk(cohort((256, 64, 4, 4), side=256)) == 2**28 // (2**20 + 400 + 32 * image) == 5


def test_no_client_takes_steps_of_another() -> None:
    steps = np.array([1, 1, 1, 2, 5, 5, 5, 5, 5])
    found = [(piece.start, piece.stop, piece.size) for piece in by_steps(steps, 2)]
    assert all(len(set(steps[start:stop])) == 1 and size == stop - start <= 2 for start, stop, size in found)
    assert [row for start, stop, _ in found for row in range(start, stop)] == list(range(9))
