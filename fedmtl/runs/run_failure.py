"""The reason why a run has no result: a file in its folder, for the reports that are made later.

``failure.json`` is there from the moment a run fails until it goes on. A run that a signal ended has none, unless the
process that watched it wrote one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fedmtl.core.bounds import check_text, one_line, shown
from fedmtl.core.diverged import Diverged
from fedmtl.core.files import Folder
from fedmtl.runs.run_folder import claim

FILE = "failure.json"

STATES = ("diverged", "failed", "unfinished")

MOST_REASON = 1000
"""Characters of a reason."""


class Failure(NamedTuple):
    """A run that is no sample of its experiment's result."""

    state: str
    """"diverged": its numbers are not finite, or exploded; "failed": an error ended it; "unfinished": it was ended, or
    goes on."""
    round: int
    """Round in which it diverged, or the last one that was done."""
    reason: str
    """One line."""


def failure_of(error: BaseException, done: int) -> Failure:
    """The failure that an error is, after ``done`` rounds were done."""
    diverged = isinstance(error, Diverged)
    text = str(error) or type(error).__name__
    if not isinstance(error, ValueError | OSError | RuntimeError | ImportError):
        text = f"{type(error).__name__}: {text}"
    return Failure("diverged" if diverged else "failed", done + 1 if diverged else done, one_line(text, MOST_REASON))


def write_failure(folder: Path, failure: Failure) -> None:
    """Leave the failure in a run's folder."""
    claim(folder, [FILE])
    Folder(folder).write(FILE, json.dumps(failure._asdict(), indent=1).encode())


@contextmanager
def noted(folder: Path | None, done: Callable[[], int]) -> Iterator[None]:
    """Inside, rounds of a run are done in the folder; an error that ends them is left there, and raised.

    Args:
        folder: a run's; None for one that is kept in memory.
        done: the rounds that are done by now.
    """
    if folder is None:
        yield
        return
    if Folder(folder).exists(FILE):  # of an earlier attempt
        Folder(folder).remove(FILE)
    try:
        yield
    except Exception as error:
        with suppress(OSError, ValueError):  # a full disk must not hide the run's own error
            write_failure(folder, failure_of(error, done()))
        raise


def read_failure(folder: Path) -> Failure | None:
    """The failure that a run's folder holds, or None.

    Raises:
        ValueError: a file that no run writes so.
    """
    try:
        text = Folder(folder).read(FILE)
    except FileNotFoundError:
        return None
    try:
        return _checked(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{str(folder / FILE)!r} is not what a run writes ({error}); delete it.") from None


def _checked(found: Any) -> Failure:
    failure = Failure(found["state"], found["round"], found["reason"])
    if failure.state not in STATES:
        raise ValueError(f"state is one of {', '.join(STATES)}, got {shown(failure.state)}")
    if type(failure.round) is not int or failure.round < 0:
        raise ValueError(f"round is a whole number from 0, got {shown(failure.round)}")
    if not isinstance(failure.reason, str):
        raise TypeError(f"reason is a text, got {shown(failure.reason)}")
    check_text("reason", failure.reason)
    return failure
