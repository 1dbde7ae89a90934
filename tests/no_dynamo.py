"""torch's optimizers without the import of torch's compiler, which takes seconds in each process that makes one."""

import gc
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch._compile import _disable_dynamo
from torch.optim.optimizer import _use_grad_for_differentiable


def leave_optimizers_uncompiled() -> None:
    """Have functions of ``torch.optim`` as they are, in this process and in those forked from it.

    At its first call each imports ``torch._dynamo`` to mark itself as not to be compiled, and keeps what is marked as
    an attribute; steps import it at every call, to break a graph. No test compiles an optimizer.
    """
    marking = _disable_dynamo(lambda: None).__code__
    breaking = _code(_use_grad_for_differentiable)
    for each in gc.get_objects():
        if type(each) is not FunctionType:
            continue
        if each.__code__ is breaking:
            each.__code__ = _code(_with_grad_where_differentiable)
        elif each.__code__ is marking and each.__module__.startswith("torch.optim"):
            plain = each.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
            plain.__dynamo_disable = plain


def _code(wrap: Callable[[Any], Any]) -> Any:
    return wrap(lambda: None).__code__


def _with_grad_where_differentiable(func: Callable[..., Any]) -> Callable[..., Any]:
    """Do what ``_use_grad_for_differentiable`` does without a compiler."""

    def step(*args: Any, **kwargs: Any) -> Any:
        before = torch.is_grad_enabled()
        try:
            torch.set_grad_enabled(args[0].defaults["differentiable"])
            return func(*args, **kwargs)
        finally:
            torch.set_grad_enabled(before)

    return step
