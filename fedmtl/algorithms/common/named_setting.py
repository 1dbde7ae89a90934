"""Methods of an algorithm that is a name, with fields of its own, for a setting of another algorithm.

Such a class has a property ``setting``, the other algorithm, and no maths; a ``cached_property`` where it is made, as
each call of a method reads it:

    init_server, init_client, broadcast, local_update, aggregate, personal_params = methods()
"""

from collections.abc import Callable
from functools import wraps
from operator import attrgetter
from typing import Any

from fedmtl.algorithms.base import Algorithm

NAMES = ("init_server", "init_client", "broadcast", "local_update", "aggregate", "personal_params")
"""Methods of the protocol."""


def methods(*names: str) -> tuple[Callable[..., Any], ...]:
    """Return methods of these names, or those of the protocol; each calls the method of ``self.setting``."""
    return tuple(_forwarded(name) for name in names or NAMES)


def _forwarded(name: str) -> Callable[..., Any]:
    method = attrgetter(name)

    def call(self: Any, *arguments: Any) -> Any:
        return method(self.setting)(*arguments)

    return wraps(method(Algorithm))(call) if name in NAMES else call
