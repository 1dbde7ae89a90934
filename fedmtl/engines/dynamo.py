"""torch.func without torch's compiler: importing it takes longer than a small run's rounds, in each process."""

import contextlib
import importlib
import sys
import types
from typing import Any

import torch


class _Later(types.ModuleType):
    """Stands for ``torch._dynamo`` until somebody needs more of it than that it is not active."""

    compiled_autograd = types.SimpleNamespace(_disable=contextlib.nullcontext)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def postpone_dynamo() -> None:
    """Put off the import of ``torch._dynamo``, which ``torch.func.grad`` makes only to switch compiled autograd off.

    What was never imported is not on. ``torch.compile``, and whatever else asks for the real module, imports it, and
    it then takes the place of this one.
    """
    if "torch._dynamo" not in sys.modules and "_dynamo" not in vars(torch):
        torch._dynamo = _Later("torch._dynamo")  # pyright: ignore[reportAttributeAccessIssue]
