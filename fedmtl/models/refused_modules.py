"""Refusals of a user's modules that no function of parameters can be made of."""

import torch
from torch import nn

WRAPPERS = {
    "OptimizedModule": "give the module from before torch.compile",
    "DataParallel": "give its .module",
    "DistributedDataParallel": "give its .module",
    "FullyShardedDataParallel": "give its .module",
}
"""Class of a module around another one -> the way out."""


def check_kinds(name: str, module: nn.Module) -> None:
    """Refuse wrappers of modules, compiled modules, and hooks on gradients.

    Args:
        name: of the model, for messages.
        module: the user's.

    Raises:
        ValueError: it names the submodule and the way out.
    """
    for path, part in module.named_modules():
        kind = type(part).__name__
        what = f"{name}: {path or 'the module'} ({kind})"
        if kind in WRAPPERS:
            raise ValueError(f"{what} runs another module in its own way; {WRAPPERS[kind]}.")
        if isinstance(part, torch.jit.ScriptModule):
            raise ValueError(
                f"{what} is compiled, so its parameters cannot be given from outside; give the module "
                "from before torch.jit.script."
            )
        if part._backward_hooks or part._backward_pre_hooks:
            raise ValueError(f"{what} has a hook on its gradients, which would not be called; remove it.")
    for path, value in module.named_parameters():
        if value._backward_hooks:
            raise ValueError(f"{name}: {path} has a hook on its gradient, which would not be called; remove it.")
