"""Python's garbage collection, without the passes over what large packages have imported."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection.

    An import makes hundreds of thousands of objects that stay, and Python would search all of them for cycles again
    and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def skip_last_collection() -> None:
    """Let this process end without a collection of all objects.

    Python would look at each of them once more before it ends, which takes most of a second after an import of torch.
    Files are flushed and ``atexit`` functions are called as before.
    """
    atexit.register(gc.freeze)
