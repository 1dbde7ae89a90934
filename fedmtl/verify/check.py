"""Golden checks and their results.

A check is a function of an algorithm's class: it plays the algorithm on a problem whose answer is known without it,
and says what was expected and what was got. Its docstring derives what is expected. The class is an argument so that
a broken one can be given too: a check that passes it checks nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fedmtl.core.context import context_of

Check = Callable[[Callable[..., Any]], "CheckResult"]
"""(class of the algorithm) -> what was found."""


CTX = context_of(seed=1)
"""Context of calls that need no round of their own."""


class CheckResult(NamedTuple):
    """A number that was expected, the one that was got, and the verdict."""

    expected: str
    got: str
    passed: bool


def close(got: ArrayLike, expected: ArrayLike, atol: float, rtol: float = 0.0) -> CheckResult:
    """Equal to within atol + rtol |expected|, in every number; shown is the one that is farthest off."""
    one, other = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if one.shape != other.shape or not one.size:
        return CheckResult(f"shape {other.shape}", f"shape {one.shape}", False)
    off = np.abs(one - other) - rtol * np.abs(other)
    worst = np.unravel_index(int(np.nan_to_num(off, nan=np.inf).argmax()), off.shape)
    within = f" ± {atol:.0e}" + (f" ± {rtol:.0e} of it" if rtol else "")
    return CheckResult(f"{other[worst]:.9g}{within}", f"{one[worst]:.9g}", bool((off <= atol).all()))


def same_bits(got: ArrayLike, expected: ArrayLike) -> CheckResult:
    """Equal, bit for bit."""
    one, other = np.asarray(got), np.asarray(expected)
    if one.shape != other.shape or one.dtype != other.dtype:
        return CheckResult(f"{other.dtype} {other.shape}", f"{one.dtype} {one.shape}", False)
    differ = int((one != other).sum())
    return CheckResult("0 numbers differ", f"{differ} of {one.size} numbers differ", one.tobytes() == other.tobytes())


def below(got: float, bound: float) -> CheckResult:
    """Less than a bound."""
    return CheckResult(f"< {bound:.6g}", f"{got:.6g}", bool(got < bound))


def above(got: float, bound: float) -> CheckResult:
    """More than a bound."""
    return CheckResult(f"> {bound:.6g}", f"{got:.6g}", bool(got > bound))


def every(*parts: CheckResult) -> CheckResult:
    """All of several: shown is the first that fails, else the last."""
    failed = [part for part in parts if not part.passed]
    return failed[0] if failed else parts[-1]
