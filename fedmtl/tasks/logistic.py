"""Cross-entropy of a yes or no from its logit."""

from torch import Tensor
from torch._C._functorch import peek_interpreter_stack
from torch.nn import functional


def logistic(z: Tensor, y: Tensor) -> Tensor:
    """log(1 + exp z) − y z, of z's shape and y in {0, 1}, in nats.

    ``torch.func`` differentiates torch's own function by the operations below, autograd by a formula whose last bits
    differ: so a client's step has the same bits whether it runs alone or within a transform.
    """
    if peek_interpreter_stack() is not None or not z.requires_grad:
        return functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    top = (-z).clamp_min(0)
    return (1 - y) * z + top + ((-top).exp() + (-z - top).exp()).log()
