"""Keep freed memory for the next step instead of returning it to the kernel and fetching it again."""

import ctypes
import functools
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
_LARGEST_THRESHOLD = 2**25
"""glibc takes no higher threshold on 64-bit machines; what is larger is mapped and unmapped as before."""


@functools.cache
def keep_freed_memory() -> bool:
    """Set glibc's malloc, once a process, to serve tensors of up to 32 MiB from its heap and to keep the heap.

    By default each tensor above 128 KiB is a mapping of its own, whose pages are zeroed by the kernel at first touch
    and returned when it is freed: for stacks of small clients that costs as much as the arithmetic. The heap keeps
    at most 256 MiB of free memory at its end, so memory is bounded by the largest step. Elsewhere than on glibc
    nothing happens.

    Returns:
        True if the settings were accepted.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = {_MMAP_THRESHOLD: _LARGEST_THRESHOLD, _TRIM_THRESHOLD: 2**28, _TOP_PAD: 2**24}
    return all([mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings.items()])
