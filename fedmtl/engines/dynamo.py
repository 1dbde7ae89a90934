"""torch.func without the import of torch's compiler, which takes longer than the rounds of a small run."""

import contextlib
import importlib
import sys
import types
from typing import Any

import torch


class _Placeholder(types.ModuleType):
    """Placeholder for ``torch._dynamo`` until more of it is needed than that it is not active."""

    compiled_autograd = types.SimpleNamespace(_disable=contextlib.nullcontext)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def postpone_dynamo() -> None:
    """Postpone the import of ``torch._dynamo``, which ``torch.func.grad`` makes only to switch compiled autograd off.

    A module that was never imported is not active. ``torch.compile`` and other users of the real module import it, and
    it then replaces the placeholder.
    """
    if "torch._dynamo" not in sys.modules and "_dynamo" not in vars(torch):
        torch._dynamo = _Placeholder("torch._dynamo")  # pyright: ignore[reportAttributeAccessIssue]
