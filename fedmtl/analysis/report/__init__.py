"""A study as files that people look at.

``fedmtl.report`` is this package and a function: ``fedmtl.report("runs/first")`` is ``call.report``.
"""

import sys
from types import ModuleType
from typing import Any

from fedmtl.analysis.report.call import report
from fedmtl.analysis.report.write import write_report as write_report


class _Callable(ModuleType):
    """A package that may be called: ``from fedmtl import report`` finds it once a module of it was imported."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        return report(*given, **named)


sys.modules[__name__].__class__ = _Callable
