"""Dropout by the round's randomness, and batch statistics without padding."""

import math

import torch
from torch import Tensor

from fedmtl.core.context import Context

_ALPHA = 1.7580993408473766
"""−α′ of alpha dropout: the value at which SELU saturates (Klambauer et al. 2017)."""


class LayerPass:
    """Layers that train and measure differently, in one forward pass.

    With n real rows (mask 1), μ and σ² the mean and variance of a channel over real rows and positions, N numbers:

        train    z = (x − μ) / √(σ² + ε),   m <- (1 − a) m + a μ,   v <- (1 − a) v + a σ² N / (N − 1)           (1)
        measure  z = (x − m) / √(max(v, 0) + ε)                                                                 (2)

    Where N < 2 there is no variance: (2), and m and v stay. Dropout keeps a number by a draw of ``ctx``; a layer's
    draws depend on its place among the layers of the trunk or head, so heads beside it change none.

    Args:
        ctx: of a training step; None measures.
        mask: 1 for a real example, 0 for padding, [B]; None: all are real.
        buffers: name -> the tensors that the pass may replace; statistics that are not among them stay as they are.
    """

    def __init__(self, ctx: Context | None, mask: Tensor | None, buffers: dict[str, Tensor]) -> None:
        self._ctx = ctx
        self._mask = mask
        self._names = {id(value): name for name, value in buffers.items()}
        self._part, self._site = "", 0
        self.new: dict[str, Tensor] = {}
        """Buffers after the pass that it has replaced."""
        self.used = False
        """True once a layer has trained in a way that it does not measure."""

    def begin(self, part: str) -> None:
        """Begin the trunk, or a head."""
        self._part, self._site = part, 0

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        assert self._ctx is not None
        self.used = True
        self._site += 1
        return self._ctx.fold(self._part).fold(self._site).uniform(shape).to(like.device)

    def kept(self, x: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
        """Draw 1 with probability 1 − p, else 0."""
        return (self.uniform(shape, x) >= p).to(x.dtype)

    def drops(self, p: float, training: bool) -> bool:
        return bool(training) and p > 0 and self._ctx is not None

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
        """Return the mean and the variance to normalise with, [C], by (1) or (2)."""
        own_mean, own_var = self._names.get(id(mean), ""), self._names.get(id(var), "")
        mean, var = self.new.get(own_mean, mean), self.new.get(own_var, var)
        var = var.clamp(min=0)  # a lossy codec may leave a small one below 0
        if not training or self._ctx is None or not own_mean or not own_var:
            return mean, var
        self.used = True
        dims = (0, *range(2, x.ndim))
        count, now, spread = self._moments(x, dims)
        several = count > 1
        unbiased = spread * (count / (count - 1).clamp(min=1))
        self.new[own_mean] = torch.where(several, mean + momentum * (now.detach() - mean), mean)
        self.new[own_var] = torch.where(several, var + momentum * (unbiased.detach() - var), var)  # (1)
        return torch.where(several, now, mean), torch.where(several, spread, var)

    def _moments(self, x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Return N, μ [C] and σ² [C] over real rows."""
        rows = x.new_ones(len(x)) if self._mask is None else self._rows(len(x)).to(x.dtype)
        rows, shape = rows.reshape(-1, *[1] * (x.ndim - 1)), (1, -1, *[1] * (x.ndim - 2))
        count = rows.sum() * x.shape[2:].numel()
        # From the first number of a channel on: where all are equal, none differs from their mean by a rounding, which
        # the division by a small deviation would make large.
        first = x.detach()[:1, :, *[0] * (x.ndim - 2)][0]
        apart = x - first.reshape(shape)
        least = count.clamp(min=1)
        shift = (apart * rows).sum(dims) / least
        apart = apart - shift.reshape(shape)
        return count, first + shift, (apart * apart * rows).sum(dims) / least

    def _rows(self, count: int) -> Tensor:
        """Return the mask of rows, of which an example may have several, one after the other."""
        assert self._mask is not None
        size = len(self._mask)
        if count % size:
            raise ValueError(f"BatchNorm got {count} rows of a batch of {size}; give each example equally many rows.")
        return self._mask if count == size else self._mask[:, None].expand(-1, count // size).reshape(-1)
