"""Central training, written out with torch's own differentiation: what one client alone must come to."""

import torch
from torch import Tensor

from fedmtl.core.types import ClientId, Params
from fedmtl.data.base import ClientData, Federation
from fedmtl.protocol.plan import Plan
from tests.algorithms.rounds import epoch
from tests.conftest import tiny


def one_client(client: ClientId = 4) -> Federation:
    """The client with tasks "amount" and "kind", 10 examples in batches of 4, alone in the world."""
    return tiny({client: ("amount", "kind")})


def central_sgd(
    plan: Plan, data: ClientData, client: ClientId, *, lr: float, epochs: int, rounds: int
) -> dict[str, Tensor]:
    """rounds · epochs passes of w <- w − η ∇f(w), where the order of examples is drawn anew each round."""
    loss = plan.loss(data.tasks)
    step = torch.tensor(-lr)
    w: Params = {name: value.clone().requires_grad_() for name, value in plan.initial.items()}
    for round in range(1, rounds + 1):
        batches = epoch(plan, data, client, round)
        for _ in range(epochs):
            for batch in batches:
                slopes = torch.autograd.grad(loss(w, batch), list(w.values()))
                # One rounding for product and sum, as in ``sgd``.
                new = [torch.addcmul(v.detach(), step, g) for v, g in zip(w.values(), slopes, strict=True)]
                w = {name: value.requires_grad_() for name, value in zip(w, new, strict=True)}
    return {name: value.detach() for name, value in w.items()}
