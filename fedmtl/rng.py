"""The only source of chance: (seed, round, client, purpose) -> a generator.

A run's bits then depend on its experiment alone: not on the engine, the number of workers, the order
in which replies arrive, or on a resume.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

SERVER = 0xFFFFFFFF
"""Stands for the server where a client id is asked for. No client may have this id."""


def rng(seed: int, round: int, client: int, purpose: str) -> np.random.Generator:
    """A generator that no other (seed, round, client, purpose) shares.

    Raises:
        ValueError: a negative number, which numpy's seed sequences do not take.
    """
    for name, value in (("seed", seed), ("round", round), ("client", client)):
        if value < 0:
            raise ValueError(f"rng takes non-negative numbers, got {name}={value}; number {name}s from 0.")
    return np.random.default_rng([seed, round, client, zlib.crc32(purpose.encode())])


@contextmanager
def torch_seed(seed: int, purpose: str) -> Iterator[None]:
    """Inside, torch's global generator is seeded from (seed, purpose); outside, it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng(seed, 0, SERVER, purpose).integers(2**62)))
        yield
