"""A guard that notices when numbers leave tensors by methods that are no operation."""

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class EscapeGuard(TorchFunctionMode):
    """Reports the conversion of tensors to Python or numpy, after which a call cannot be replayed.

    Args:
        report: receives the reason.
    """

    METHODS = frozenset({"numpy", "tolist", "__array__", "__dlpack__"})

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__()
        self._report = report

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in self.METHODS:
            self._report(f"it reads numbers out of tensors by {name}")
        return func(*args, **(kwargs or {}))
