"""Several models of one shape, which differ at first by noise."""

from torch import Tensor

from fedmtl.core.buffers import trainable
from fedmtl.core.context import Context
from fedmtl.core.types import Params


def perturbed_copies(params: Params, count: int, spread: float, ctx: Context) -> list[dict[str, Tensor]]:
    """Return M models: the given one, and others that differ from it by noise of its own scale.

        w_0 = w;   w_m = w + s √(mean w²) ε_m,   ε_m from N(0, I), for m = 1, …, M − 1, each name by itself     (1)
        w_m = w + s ε_m    where w is 0 throughout, as a linear model's may be                                  (2)

    Equal models would stay equal. ε_m of a name is ``ctx.fold(m).fold(name).normal``. Buffers are those of w.

    Args:
        params: w.
        count: M.
        spread: s.
        ctx: of the server, whose seed is the experiment's.
    """
    moved = trainable(params)
    models, blank = [dict(params)], not any(bool(w.any()) for w in moved.values())
    for m in range(1, count):
        noise = {name: ctx.fold(m).fold(name).normal(w.shape).to(w) for name, w in moved.items()}
        scale = {n: 1.0 if blank else w.square().mean().sqrt() for n, w in moved.items()}  # (2), (1)
        models.append({n: w + spread * scale[n] * noise[n] if n in moved else w for n, w in params.items()})
    return models


def pick(models: Params, index: Tensor) -> dict[str, Tensor]:
    """Model ``index``, a scalar tensor, out of several that are stacked, [M, …]; safe under ``torch.vmap``."""
    return {name: value.index_select(0, index.reshape(1))[0] for name, value in models.items()}
