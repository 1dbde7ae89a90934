"""Cases of one test that share a costly set-up: a failure names its case, as that of a parametrised test does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def case(*values: Any) -> Iterator[None]:
    """Name the case in whatever error the block raises.

    >>> with case("loop", 2):
    ...     assert False
    Traceback (most recent call last):
    AssertionError
    in the case 'loop', 2
    """
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        error.add_note(f"in the case {', '.join(map(repr, values))}")
        raise
