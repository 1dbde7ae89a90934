"""Parameters that a client trains beside those of its algorithm."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from fedmtl.core.types import Params


@dataclass
class Companions:
    """Parameters of a client that are trained beside those of its algorithm, which does not see them."""

    params: Params
    """Their numbers; while a step takes its gradient, those that it differentiates by."""


_COMPANIONS: ContextVar[Companions | None] = ContextVar("companions", default=None)


@contextmanager
def trained_beside(own: Companions) -> Iterator[None]:
    """Within, each ``sgd`` trains these parameters, too, by gradients of losses that read them there."""
    token = _COMPANIONS.set(own)
    try:
        yield
    finally:
        _COMPANIONS.reset(token)


def companions() -> Companions | None:
    """Return the parameters that ``sgd`` is to train, too."""
    return _COMPANIONS.get()
