"""torch's optimizers without the import of torch's compiler, which takes seconds in each process that makes one."""

import gc
from types import FunctionType

from torch._compile import _disable_dynamo


def leave_optimizers_uncompiled() -> None:
    """Have functions of ``torch.optim`` as they are, in this process and in those forked from it.

    At its first call each imports ``torch._dynamo`` to mark itself as not to be compiled, and keeps what is marked as
    an attribute. No test compiles an optimizer.
    """
    marking = _disable_dynamo(lambda: None).__code__
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__ is marking and each.__module__.startswith("torch.optim"):
            plain = each.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
            plain.__dynamo_disable = plain
