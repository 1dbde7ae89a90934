"""Context of a call of an algorithm's function: the round, and randomness of its own.

Every draw is a pure function of a key and a counter, in integer arithmetic on tensors, so it has the same bits in a
loop, under ``torch.vmap``, in a replayed graph and in every process:

    words = Philox4x32-10(counter, key)                   Salmon et al. SC 2011. doi:10.1145/2063384.2063405      (1)
    key   = the first two words of (1) with the key (seed) and the counter (round, client, 0, 2)                 (2)
    draws = (1) with the counters (i, 0, path), i = 0, 1, …, four words each                                     (3)

The path is a hash, 64 bits, of everything that was folded into a context.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.core.random import SERVER

_WORD = 0xFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = torch.tensor([[0xD2511F53], [0xCD9E8D57]])
_BUMPS = torch.tensor([[r * w & _WORD for w in (0x9E3779B9, 0xBB67AE85)] for r in range(_ROUNDS)])
_DRAW, _FOLD, _START = 0, 1, 2
"""Uses of a key, in a word of the counter, so that no two share a block."""


class NoContext(RuntimeError):
    """A context without a round and a key is read."""


@dataclass(frozen=True, eq=False)
class Context:
    """Round and randomness of one call; safe under ``torch.vmap``, where each client has its own.

    Contexts of different rounds, clients and purposes are independent. A context draws the same numbers every time, so
    each use is given a purpose by ``fold``:

    >>> ctx = context_of(seed=0, round=3)
    >>> bool((ctx.fold("noise").normal(4) == ctx.fold("noise").normal(4)).all())
    True
    >>> bool((ctx.fold("noise").normal(4) == ctx.fold("mask").normal(4)).any())
    False
    >>> ctx.fold("step").fold(1).bernoulli(0.5, (2, 3)).shape
    torch.Size([2, 3])
    >>> int(ctx.round)
    3
    """

    schedule_step: Tensor | None = None
    """The round, see ``round``; None where no function reads it."""
    key: Tensor | None = None
    """Two words of 32 bits, [2] int64."""
    path: int = 0
    origin: tuple[int, int, int] | None = None
    """(seed, round, client) of a key that is made when it is first read."""

    @property
    def round(self) -> Tensor:
        """Zero-based round, a float32 scalar: 0 while the first round trains."""
        if self.schedule_step is None:
            raise NoContext(_ABSENT)
        return self.schedule_step

    def fold(self, purpose: str | int | Tensor) -> "Context":
        """Return a context with randomness of its own, for this purpose, step or index."""
        if isinstance(purpose, Tensor):
            return replace(self, key=self._folded(purpose.to(torch.int64)), path=0, origin=None)
        picture = f"{self.path} {type(purpose).__name__} {purpose}".encode()
        return replace(self, path=int.from_bytes(blake2b(picture, digest_size=8).digest(), "little"))

    def uniform(self, shape: int | Sequence[int] = ()) -> Tensor:
        """Draw from [0, 1): multiples of 2^-24, float32."""
        return (self._words(shape) >> 8).to(torch.float32) * 2.0**-24

    def bernoulli(self, p: float | Tensor, shape: int | Sequence[int] = ()) -> Tensor:
        """Draw booleans that are true with probability p, rounded up to a multiple of 2^-24."""
        return self.uniform(shape) < p

    def normal(self, shape: int | Sequence[int] = ()) -> Tensor:
        """Draw from N(0, 1), float32: the quantiles of (word + 1/2) / 2^32, at most 6.4."""
        quantiles = torch.special.ndtri((self._words(shape).to(torch.float64) + 0.5) * 2.0**-32)
        return quantiles.to(torch.float32)

    def rng(self) -> np.random.Generator:
        """Return a generator of numpy, for code on the server; not under ``torch.vmap``."""
        return np.random.default_rng([*self.own_key().tolist(), self.path])

    def own_key(self) -> Tensor:
        """Return the key, made if need be."""
        if self.key is not None:
            return self.key
        if self.origin is None:
            raise NoContext(_ABSENT)
        return _key_of(*self.origin)

    def _folded(self, number: Tensor) -> Tensor:
        low, high = self.path & _WORD, self.path >> 32
        key = philox(_counter(number & _WORD, _FOLD, (number >> 32) & _WORD, 0), self.own_key())
        return philox(_counter(key[0], _FOLD, low, high), key[1:3])[:2] if self.path else key[:2]

    def _words(self, shape: int | Sequence[int]) -> Tensor:
        """Return words of 32 bits, int64."""
        own, size = self.own_key(), (shape,) if isinstance(shape, int) else tuple(shape)
        count = math.prod(size)
        index = torch.arange(-(-count // 4), device=own.device)
        words = philox(_counter(index, _DRAW, self.path & _WORD, self.path >> 32), own)
        return words.T.reshape(-1)[:count].reshape(size)  # so that fewer numbers are the first of more


NO_CONTEXT = Context()
"""The context of functions that read none, so that engines make no key for them."""

_ABSENT = (
    "This function has no context. In local_update, hand ctx on, as in sgd(…, ctx=ctx); in a test, make one by "
    "context_of(seed, round, client). Functions that measure have none."
)


_STEP: ContextVar[tuple[Context, tuple[int, ...]] | None] = ContextVar("step", default=None)


@contextmanager
def training_step(ctx: Context, *path: int) -> Iterator[None]:
    """Within, losses are those of a training step, whatever objective they are part of: layers draw from ``ctx``,
    folded by each number of ``path`` where a layer asks for it."""
    token = _STEP.set((ctx, path))
    try:
        yield
    finally:
        _STEP.reset(token)


def step_context() -> Context | None:
    """Return the context of the training step that a loss is part of; None where a loss only measures."""
    step = _STEP.get()
    return None if step is None else reduce(Context.fold, step[1], step[0])


def context_of(seed: int = 0, round: int = 0, client: int = SERVER) -> Context:
    """Return the context of a client, or of the server, in a zero-based round.

    Raises:
        ValueError: a negative number, or one of more than 32 bits (of a seed: 64).
    """
    for name, value, bits in (("seed", seed, 64), ("round", round, 32), ("client", client, 32)):
        if not 0 <= value < 2**bits:
            raise ValueError(f"A context's {name} is from 0 to 2^{bits} − 1, got {value}; number {name}s from 0.")
    return Context(torch.tensor(float(round)), origin=(seed, round, client))


class ContextRows(NamedTuple):
    """Fields of the contexts of K clients."""

    schedule_step: Tensor
    """[K]."""
    key: Tensor
    """[K, 2]."""


def context_rows(seed: int, round: int, clients: NDArray[np.int64]) -> ContextRows:
    """Return the contexts of K clients in a zero-based round, with the keys of (2)."""
    ids = torch.from_numpy(np.asarray(clients, np.int64))
    words = philox(_counter(torch.full_like(ids, round), ids, 0, _START), torch.tensor([seed & _WORD, seed >> 32]))
    return ContextRows(torch.full((len(ids),), float(round)), words[:2].T.contiguous())


@lru_cache(maxsize=64)
def _key_of(seed: int, round: int, client: int) -> Tensor:
    return context_rows(seed, round, np.array([client])).key[0]


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """(1) of n counters [4, n] or one [4], with one key [2]; words are numbers of 32 bits in int64.

    c <- (hi(M₁ c₂) ⊕ c₁ ⊕ k₀, lo(M₁ c₂), hi(M₀ c₀) ⊕ c₃ ⊕ k₁, lo(M₀ c₀))
    """
    even, odd = counter[0::2], counter[1::2]
    keys = (key + _BUMPS.to(key.device)) & _WORD
    column = (2,) + (1,) * (counter.dim() - 1)
    multipliers = _MULTIPLIERS.to(key.device).reshape(column)
    for r in range(_ROUNDS):
        product = (even * multipliers).flip(0)  # overflows to the same 64 bits
        even, odd = ((product >> 32) & _WORD) ^ odd ^ keys[r].reshape(column), product & _WORD
    return torch.stack([even, odd], dim=1).flatten(0, 1)


def _counter(*words: Any) -> Tensor:
    """Stack four words, of which the first is a tensor."""
    first = words[0]
    return torch.stack([word if isinstance(word, Tensor) else torch.full_like(first, word) for word in words])
