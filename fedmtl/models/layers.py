"""Dropout by the round's randomness, and batch statistics without padding."""

import math
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.context import Context

COUNT = "running_batches"
"""Buffer of a BatchNorm without a momentum: how many batches its statistics are the mean of."""

_ALPHA = 1.7580993408473766
"""−α′ of alpha dropout: the value at which SELU saturates (Klambauer et al. 2017)."""


class LayerPass:
    """Layers that train and measure differently, in one forward pass.

    With n real rows (mask 1), μ and σ² the mean and variance of a channel over real rows and positions, N numbers:

        train    z = (x − μ) / √(σ² + ε),   m <- (1 − a) m + a μ,   v <- (1 − a) v + a σ² N / (N − 1)           (1)
        measure  z = (x − m) / √(max(v, 0) + ε)                                                                 (2)

    Where N < 2 there is no variance: (2), and m and v stay. Without a momentum, a = 1 / b of the b-th batch.
    InstanceNorm trains by μ and σ² of each example, and steps m and v by their means over real rows. Dropout keeps a
    number by a draw of ``ctx``; a layer's draws depend on its place among the layers of the trunk or head, so heads
    beside it change none.

    Args:
        ctx: of a training step; None measures.
        mask: 1 for a real example, 0 for padding, [B]; None: all are real.
        buffers: name -> the tensors that the pass may replace; statistics that are not among them stay as they are.
    """

    def __init__(self, ctx: Context | None, mask: Tensor | None, buffers: dict[str, Tensor]) -> None:
        self._ctx = ctx
        self._mask = mask
        self._buffers = buffers
        self._names = {id(value): name for name, value in buffers.items()}
        self._part, self._site = "", 0
        self._own: Tensor | None = None
        self.new: dict[str, Tensor] = {}
        """Buffers after the pass that it has replaced."""
        self.used = False
        """True once a layer has trained in a way that it does not measure."""
        self.drew_in_place = False
        """True once a tensor was drawn into, which is NaN since."""

    def begin(self, part: str, rows: Tensor | None = None) -> None:
        """Begin the trunk, or a head; where only some rows are its own, 1 for those, [B], and others are padding."""
        self._part, self._site, self._own = part, 0, rows

    @property
    def trains(self) -> bool:
        """True in a training step, which has randomness."""
        return self._ctx is not None

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw float32 numbers from [0, 1)."""
        return self._draws().uniform(shape).to(like.device)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw float32 numbers from N(0, 1)."""
        return self._draws().normal(shape).to(like.device)

    def _draws(self) -> Context:
        """Return the randomness of the next layer that draws."""
        assert self._ctx is not None
        self.used = True
        self._site += 1
        return self._ctx.fold(self._part).fold(self._site)

    def kept(self, x: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
        """Draw 1 with probability 1 − p, else 0."""
        return (self.uniform(shape, x) >= p).to(x.dtype)

    def drops(self, p: float, training: bool) -> bool:
        return bool(training) and p > 0 and self.trains

    def dropout(self, x: Tensor, p: float, shape: tuple[int, ...] | None = None) -> Tensor:
        if p >= 1:
            self.used = True
            return x * 0
        return x * (self.kept(x, p, tuple(x.shape) if shape is None else shape) / (1 - p))

    def alpha_dropout(self, x: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
        """Return a (x d − α′ (1 − d)) + b, with a and b that keep mean 0 and variance 1."""
        if p >= 1:
            self.used = True
            return x * 0
        d = self.kept(x, p, shape)
        a = 1 / math.sqrt((_ALPHA**2 * p + 1) * (1 - p))
        return x * (d * a) + ((d - 1) * (_ALPHA * a) + _ALPHA * a * p)

    def batch_norm(
        self, x: Tensor, mean: Tensor, var: Tensor, training: bool, momentum: float
    ) -> tuple[Tensor, Tensor]:
        """Return x − μ, and the variance to normalise with, [1, C, 1, …], by (1) or (2).

        In training, padding is 0 behind the layer: far from the real rows of a small batch, it would grow by each of
        many layers, and what overflows is NaN in products with the mask.
        """
        old, names = self._statistics(x, mean, var, training)
        if not names:
            return x - old[0], old[1]
        rows = self._rows(x)
        count = rows.sum() * x.shape[2:].numel()
        now, spread = _moments(x, (0, *range(2, x.ndim)), rows, count.clamp(min=1))
        several = count > 1
        unbiased = spread * (count / (count - 1).clamp(min=1))
        self._replace(names, old, (now, unbiased), self._momentum(names, momentum, several), several)  # (1)
        apart = x - torch.where(several, now, old[0])
        return torch.where(rows > 0, apart, 0.0), torch.where(several, spread, old[1])

    def instance_norm(
        self, x: Tensor, mean: Tensor, var: Tensor, training: bool, momentum: float
    ) -> tuple[Tensor, Tensor]:
        """Return x − μ, and the variance to normalise with, [B, C, 1, …] or [1, C, 1, …], by (1) or (2)."""
        old, names = self._statistics(x, mean, var, training)
        if not names:
            return x - old[0], old[1]
        places = x.shape[2:].numel()
        if places < 2:
            raise ValueError(f"InstanceNorm got one number for each channel, {tuple(x.shape)}, which has no variance.")
        now, spread = _moments(x, tuple(range(2, x.ndim)), torch.ones_like(x[:1, :1]), torch.full_like(var[0], places))
        rows = self._rows(x)
        least = rows.sum().clamp(min=1)
        over_rows = [(value.detach() * rows).sum(0, keepdim=True) / least for value in (now, spread)]
        unbiased = over_rows[1] * (places / (places - 1))
        self._replace(names, old, (over_rows[0], unbiased), momentum, rows.sum() > 0)  # (1)
        return x - now, spread

    def _statistics(
        self, x: Tensor, mean: Tensor, var: Tensor, training: bool
    ) -> tuple[tuple[Tensor, Tensor], tuple[str, ...]]:
        """Return the running statistics, [1, C, 1, …], and their names where this pass replaces them."""
        names = self._names.get(id(mean), ""), self._names.get(id(var), "")
        mean, var = self.new.get(names[0], mean), self.new.get(names[1], var)
        shape = (1, -1, *[1] * (x.ndim - 2))
        old = mean.reshape(shape), var.clamp(min=0).reshape(shape)  # a lossy codec may leave a small one below 0
        if not training or not self.trains or not all(names):
            return old, ()
        self.used = True
        return old, names

    def _momentum(self, names: tuple[str, ...], momentum: float, counted: Tensor) -> float | Tensor:
        """Return a, which is 1 / b of the b-th batch where the layer counts them."""
        name = f"{names[0].rpartition('.')[0]}.{COUNT}".removeprefix(".")
        if name not in self._buffers:
            return momentum
        count = self.new.get(name, self._buffers[name])
        self.new[name] = count + counted.to(count.dtype)
        return 1 / self.new[name].clamp(min=1)

    def _replace(
        self, names: tuple[str, ...], old: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor], a: Any, real: Tensor
    ) -> None:
        for name, before, value in zip(names, old, now, strict=True):
            own = self._buffers[name].shape
            self.new[name] = torch.where(real, before + a * (value.detach() - before), before).reshape(own)

    def _rows(self, x: Tensor) -> Tensor:
        """Return the mask of rows, [B, 1, …], of which an example may have several, one after the other."""
        shape = (-1, *[1] * (x.ndim - 1))
        real = self._mask if self._own is None else self._own if self._mask is None else self._mask * self._own
        if real is None:
            return x.new_ones(len(x)).reshape(shape)
        count, size = len(x), len(real)
        if count % size:
            raise ValueError(f"BatchNorm got {count} rows of a batch of {size}; give each example equally many rows.")
        mask = real if count == size else real[:, None].expand(-1, count // size).reshape(-1)
        return mask.to(x.dtype).reshape(shape)


def _moments(x: Tensor, dims: tuple[int, ...], rows: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return μ and σ² over rows of mask 1, whose numbers are ``count`` a channel; the dimensions stay, of size 1."""
    # From the first number of a channel on: where all are equal, none differs from their mean by a rounding, which
    # the division by a small deviation would make large.
    first = x.detach()[tuple(slice(0, 1) if dim in dims else slice(None) for dim in range(x.ndim))]
    apart = x - first
    shift = (apart * rows).sum(dims, keepdim=True) / count
    apart = apart - shift
    return first + shift, (apart * apart * rows).sum(dims, keepdim=True) / count
