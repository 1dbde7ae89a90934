"""Central training, written out with torch's own differentiation: what one client alone must come to."""

from collections.abc import Sequence

import torch

from fedmtl.core.types import Batch, LossFn, Params
from fedmtl.verify.quadratic import Array, Quadratic, clients, vector


def alone() -> Quadratic:
    """A client with 8 examples, a power of two, so that n·w / n has the bits of w in float64 too."""
    return clients(1)[0]._replace(num_examples=8)


def central(loss: LossFn, start: Params, batches: Sequence[Batch], lr: float, passes: int) -> Params:
    """w <- w − η ∇f(w) over the batches, again and again."""
    step = torch.tensor(-lr, dtype=torch.float32)
    w = {name: value.clone().requires_grad_() for name, value in start.items()}
    for _ in range(passes):
        for batch in batches:
            slopes = torch.autograd.grad(loss(w, batch), list(w.values()))
            # One rounding for product and sum, as in ``sgd``.
            new = [torch.addcmul(v.detach(), step, g) for v, g in zip(w.values(), slopes, strict=True)]
            w = {name: value.requires_grad_() for name, value in zip(w, new, strict=True)}
    return {name: value.detach() for name, value in w.items()}


def central_vector(client: Quadratic, start: Array, steps: int, lr: float, passes: int) -> Array:
    """The same on a quadratic's ``steps`` batches, as a vector [p]."""
    return vector(central(client.loss, client.params(start), client.batches(steps), lr, passes))
