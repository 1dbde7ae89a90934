"""Callbacks of one run: called in order; one that raises is named once and switched off, and the run goes on."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fedmtl.callbacks.base import Callback, MissingPackage, RunInfo
from fedmtl.callbacks.replay import ExchangeRows
from fedmtl.core.bounds import shown

log = logging.getLogger("fedmtl")


class CallbackRunner:
    """The callbacks of a run that are on, each with its writer.

    Args:
        callbacks: started in this order.
        run: what they are started with.
        on_error: gets the message about a callback that raised; a warning in the log by default.

    Raises:
        MissingPackage: a callback's package is not installed; no callback is left open.
    """

    def __init__(
        self, callbacks: Iterable[Callback[Any]], run: RunInfo, on_error: Callable[[str], None] = log.warning
    ) -> None:
        self._on: dict[int, tuple[Callback[Any], Any]] = {}
        self._on_error = on_error
        try:
            for number, callback in enumerate(callbacks):
                self._start(number, callback, run)
        except BaseException:
            self.end(None)
            raise

    def __bool__(self) -> bool:
        return bool(self._on)

    def _start(self, number: int, callback: Callback[Any], run: RunInfo) -> None:
        try:
            self._on[number] = callback, callback.start(run)
        except MissingPackage:
            raise
        except Exception as error:  # any: it is the user's own code, or another package's
            self._off(number, callback, error)

    def replay(self, exchanges: Iterable[ExchangeRows]) -> None:
        """Give the rows that a run has already."""
        for exchange in exchanges:
            self.exchange(exchange)

    def exchange(self, tables: ExchangeRows) -> None:
        """Give what one exchange brought."""
        for number, (callback, writer) in list(self._on.items()):
            try:
                for table, rows in tables.items():
                    if rows:
                        callback.rows(writer, table, rows)
            except Exception as error:
                self._off(number, callback, error)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Close all writers; a second call does nothing."""
        while self._on:
            _, (callback, writer) = self._on.popitem()
            try:
                callback.end(writer, summary)
            except Exception as error:
                self._off(-1, callback, error)

    def _off(self, number: int, callback: Callback[Any], error: Exception) -> None:
        self._on.pop(number, None)
        log.debug("callback %r", callback, exc_info=error)
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        self._on_error(f"callback {shown(callback)} raised {what}; it is switched off, the run goes on.")


@contextmanager
def running(callbacks: Iterable[Callback[Any]], run: RunInfo) -> Iterator[CallbackRunner]:
    """Inside, the callbacks of a run are on; however it ends, their writers are closed."""
    runner = CallbackRunner(callbacks, run)
    try:
        yield runner
    finally:
        runner.end(None)


NO_CALLBACKS = CallbackRunner((), RunInfo("", "", "", {}, None))
