"""Arguments of the methods of an algorithm."""

import inspect
from typing import Any

ARGUMENTS = {
    "init_server": ("params", "ctx"),
    "broadcast": ("server", "client", "ctx"),
    "local_update": ("loss", "down", "private", "batches", "ctx"),
    "aggregate": ("server", "uploads", "ctx"),
}
"""Methods that are called with a context, and their arguments."""


def check_arguments(kind: str, component: Any) -> None:
    """Refuse an algorithm with a method that takes no context.

    Raises:
        ValueError: it names the method and its arguments.
    """
    if kind != "algorithm":
        return
    for method, names in ARGUMENTS.items():
        signature = inspect.signature(getattr(component, method))
        try:
            signature.bind(*names)
        except TypeError:
            raise ValueError(
                f"algorithm {type(component).__name__}: {method} is called with ({', '.join(names)}), and takes "
                f"{str(signature).partition(' ->')[0]}; its last argument is ctx, a Context: the round, and randomness "
                "that follows the experiment's seed."
            ) from None
