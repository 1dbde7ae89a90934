"""The only source of randomness: (seed, round, client, purpose) -> a generator.

A run's bits then depend on its experiment alone: not on the engine, the number of workers, the order
in which replies arrive, or on a resume.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

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


def permutations(
    seed: int, round: int, clients: NDArray[np.int64], purpose: str, sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """A random order for each of K clients at once, [K, max size]: row k begins with one of 0, …, sizes[k] − 1.

    A client's order depends on (seed, round, client, purpose) and its size alone. A generator a client would cost
    more than training a small one, so each place draws a number and the numbers' ranks are the order:

        z_k  = mix(client_k + γ · base),    base from ``rng(seed, round, SERVER, purpose)``      (1)
        u_ki = mix(z_k + (i + 1) γ),        the order of client k is argsort_i u_ki              (2)

    with mix and γ of SplitMix64 (Steele, Lea, Flood. OOPSLA 2014, doi:10.1145/2660193.2660195), whose mix is a
    bijection on 64 bits: two clients never share z, and numbers within a row never tie.
    """
    base = int(rng(seed, round, SERVER, purpose).integers(2**64, dtype=np.uint64))
    longest = int(sizes.max())
    with np.errstate(over="ignore"):
        start = _mix(clients.astype(np.uint64) + np.uint64(base * _GAMMA % 2**64))  # (1)
        draws = _mix(start[:, None] + np.arange(1, longest + 1, dtype=np.uint64) * np.uint64(_GAMMA))  # (2)
    if (sizes < longest).any():
        draws[np.arange(longest) >= sizes[:, None]] = np.iinfo(np.uint64).max
    return np.argsort(draws, axis=1)


def uniforms(
    seed: int, clients: NDArray[np.int64], index: NDArray[np.int64] | int, purpose: str
) -> NDArray[np.float64]:
    """Return a number in (0, 1) for each of K clients, a function of (seed, client, index, purpose) alone, [K].

    For what is looked up at any time, such as a client's bandwidth in its 17th minute: nothing is drawn before it is
    asked for, and nothing is kept. The draws are those of (1) and (2) above, with 52 bits, from the middle of a cell.

    Args:
        seed: of the experiment.
        clients: ids, [K].
        index: 0, 1, …, of the draw, [K] or one for all.
        purpose: of the draws.
    """
    base = int(rng(seed, 0, SERVER, purpose).integers(2**64, dtype=np.uint64))
    with np.errstate(over="ignore"):
        start = _mix(clients.astype(np.uint64) + np.uint64(base * _GAMMA % 2**64))
        draws = _mix(start + (np.asarray(index).astype(np.uint64) + np.uint64(1)) * np.uint64(_GAMMA))
    return ((draws >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def words(seeds: NDArray[np.uint32], count: int) -> NDArray[np.uint64]:
    """Random words of each of K seeds, [K, count]: u_ki = mix(mix(seed_k + γ) + (i + 1) γ), as in ``permutations``.

    Whole-number arithmetic alone, so that a sender and a receiver of any version and machine draw the same.
    """
    found, step = np.empty((len(seeds), count), np.uint64), max(1, 2**14 // max(1, len(seeds)))
    with np.errstate(over="ignore"):
        start = _mix(seeds.astype(np.uint64) + np.uint64(_GAMMA))
        for first in range(0, count, step):  # in pieces that stay in a core's cache
            index = np.arange(first + 1, min(first + step, count) + 1, dtype=np.uint64)
            found[:, first : first + step] = _mix(start[:, None] + index * np.uint64(_GAMMA))
    return found


_GAMMA = 0x9E3779B97F4A7C15


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@contextmanager
def torch_seed(seed: int, purpose: str) -> Iterator[None]:
    """Inside, torch's global generator of the CPU is seeded from (seed, purpose); outside, it is as it was.

    ``torch.manual_seed`` would seed those of GPUs for good, and without a GPU keep a stack trace for each call.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng(seed, 0, SERVER, purpose).integers(2**62)))
        yield


@contextmanager
def float32_default() -> Iterator[None]:
    """Inside, torch makes float32 where no type is given; outside, it is as it was."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
