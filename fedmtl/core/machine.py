"""The machine that this process runs on, as a key of what was measured or compiled on it."""

import os
import platform
import re
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """The processor's name, and how many there are."""
    name = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        name = found.group(1) if found else name
    except OSError:
        pass
    return f"{name} x{os.cpu_count()}"
