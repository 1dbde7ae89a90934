"""Imports of large packages, which take this process a tenth less time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Inside, Python does not look for cycles among objects.

    An import makes hundreds of thousands that stay, and Python would go through all of them again and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
