"""The most memory that a process and its descendants held together."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 0.5
"""Between two looks: a peak that is shorter can be missed."""


def family(root: int) -> list[int]:
    """A process and its living descendants; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])  # a name may hold spaces and brackets
        except (OSError, IndexError):  # it ended meanwhile
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root] if children else []
    for pid in found:
        found += children.get(pid, [])
    return found


def resident(pids: list[int]) -> tuple[int, int]:
    """Bytes of memory of some processes: with a page that n processes share counted 1/n times in each (PSS), and once
    in each (RSS)."""
    pss = rss = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("Pss:"):
                pss += 1024 * int(line.split()[1])
            elif line.startswith("Rss:"):
                rss += 1024 * int(line.split()[1])
    return pss, rss


class PeakMemory:
    """Inside ``with``, looks at this process's family twice a second; then ``pss`` and ``rss`` are the peaks in bytes.

    Both are 0 where the system has no /proc.
    """

    def __init__(self) -> None:
        self.pss = 0
        self.rss = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _look(self) -> None:
        pss, rss = resident(family(os.getpid()))
        self.pss, self.rss = max(self.pss, pss), max(self.rss, rss)

    def _watch(self) -> None:
        while not self._done.wait(SECONDS):
            self._look()

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self._look()
