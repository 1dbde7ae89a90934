"""Loggers that pass their records on, so that pytest need not visit each of them around each phase of each test."""

import logging


def let_loggers_propagate() -> None:
    """Have records of all loggers reach the root's handlers, where pytest captures them.

    pytest adds its two handlers to the root and to every logger that does not propagate, of which torch makes forty,
    and takes them away again, three times a test: half of the time of a test that does nothing. What is captured is
    the same either way.
    """
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.propagate = True
