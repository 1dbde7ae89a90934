"""The checks' results as a table to read."""

import time
from collections.abc import Callable, Sequence

import torch

from fedmtl.verify.registry import verify

WIDE = 120
"""Columns from which a check and its numbers stand on one line."""


def report(names: Sequence[str], say: Callable[[str], None], width: int | None = None) -> bool:
    """Run the checks of some algorithms, or of all, say each result as it comes, and whether all passed.

    Args:
        names: algorithms, weightings or optimizers; none for all.
        say: called with each line.
        width: of the terminal; None for lines of any length.

    Raises:
        ValueError: an unknown algorithm.
    """
    torch.set_num_threads(1)  # the problems are tiny
    begin, algorithm, passed, failed = time.perf_counter(), "", 0, []
    for line in verify(names):
        if line.algorithm != algorithm:
            algorithm = line.algorithm
            say(f"\n{algorithm}: {line.paper}")
        mark = "pass" if line.found.passed else "FAIL"
        if width is None or width >= WIDE:
            say(f"  {mark}  {line.check:<58} expected {line.found.expected:<28} got {line.found.got}")
        else:
            say(f"  {mark}  {line.check}")
            say(f"        expected {line.found.expected}, got {line.found.got}")
        passed += line.found.passed
        if not line.found.passed:
            failed.append(f"{line.algorithm}: {line.check}")
    say(f"\n{passed} of {passed + len(failed)} checks passed in {time.perf_counter() - begin:.0f} s")
    for each in failed:
        say(f"  failed: {each}")
    return not failed
