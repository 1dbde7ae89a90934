"""Plain calls before a call is traced: a trace takes time, which only later replays win back."""

from collections.abc import Sequence

from torch import Tensor

from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.trace.plain_call import is_large_alone

WAIT_SMALL = 2
"""Calls before a function's first short call is traced: a run of two rounds would never use its graph."""

WAIT = 5
"""Calls before a long call of a stack is traced."""

LONG = 50
"""Batches of a stack whose call is long: tracing it takes as long as five calls."""

WAIT_LARGE = 10
"""Calls before a stack of large clients is traced: ten replays save the time that it takes to trace and to verify."""

WAIT_ALONE = 30
"""Calls before a long call of a client alone is traced: as long as ten, and until then it is as fast as a loop."""


def waits(inputs: Inputs, tensors: Sequence[Tensor], verified: bool) -> int:
    """Return the number of plain calls of a signature before it is traced.

    Args:
        inputs: of the call.
        tensors: the same, flat.
        verified: the function's graph of another signature gave the bits of a plain call.
    """
    if is_large_alone(inputs, tensors):
        return WAIT_ALONE
    if inputs.large:
        return WAIT_LARGE
    small = 0 if verified else WAIT_SMALL
    return WAIT if len(inputs.batches) >= LONG else small
