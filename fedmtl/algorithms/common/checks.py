"""Checks of hyper-parameters that many algorithms have."""

from typing import Any

from fedmtl.algorithms.traits import Traits
from fedmtl.core.traits import check_traits
from fedmtl.optimizers.checks import check_optimizer as check_optimizer


def check_inner(wrapper: Any, algorithm: Any, example: str, outermost: bool = False) -> None:
    """Refuse what is no algorithm where a wrapper takes one, and a wrapper that is to be the outermost inside another.

    Args:
        wrapper: that takes it.
        algorithm: the one inside.
        example: of one, for messages.
        outermost: True where the wrapper itself is to be the outermost.
    """
    name = type(wrapper).__name__
    if isinstance(algorithm, type) or "local_update" not in dir(algorithm):
        raise ValueError(f"{name} wraps an algorithm such as {example}, got algorithm={algorithm!r}.")
    check_traits("algorithm", algorithm, Traits)
    if algorithm.traits.by_round or algorithm.traits.by_width:
        outside = type(algorithm).__name__
        rest = f": {outside}({name}(…))" if not outermost else f", and so does {name}; take one of the two"
        raise ValueError(f"{outside} goes outside{rest}, got algorithm={algorithm!r} in {name}.")


def check_descent(algorithm: Any, lr: float, epochs: int, optimizer: Any) -> None:
    """The settings of a descent by ``sgd``."""
    check_lr(algorithm, lr=lr)
    check_epochs(algorithm, epochs=epochs)
    check_optimizer(algorithm, optimizer)


def check_lr(algorithm: Any, **rates: float) -> None:
    """Learning rates are positive, finite numbers."""
    for name, value in rates.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise ValueError(
                f"{type(algorithm).__name__} needs a positive, finite learning rate, got {name}={value!r}."
            )


def check_epochs(algorithm: Any, **epochs: int) -> None:
    """Numbers of passes are whole and at least 1."""
    for name, value in epochs.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(
                f"{type(algorithm).__name__} needs a whole number of passes, at least 1, got {name}={value!r}."
            )


def check_strength(algorithm: Any, **strengths: float) -> None:
    """Strengths of penalties and the like are finite numbers, 0 or more."""
    for name, value in strengths.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise ValueError(f"{type(algorithm).__name__} needs a finite strength of 0 or more, got {name}={value!r}.")


def check_count(algorithm: Any, **counts: int) -> None:
    """Numbers of clusters, steps and the like are whole and at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{type(algorithm).__name__} needs a whole number, at least 1, got {name}={value!r}.")


def check_positive(algorithm: Any, **values: float) -> None:
    """Divisors are finite numbers above 0."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise ValueError(f"{type(algorithm).__name__} needs a finite number above 0, got {name}={value!r}.")


def check_fraction(algorithm: Any, **values: float) -> None:
    """Decay rates of running means and the like are at least 0 and below 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ValueError(
                f"{type(algorithm).__name__} needs a number of at least 0 and below 1, got {name}={value!r}."
            )


def check_clients(algorithm: Any, **clients: tuple[int, ...]) -> None:
    """Lists of clients are tuples of one or more whole numbers, 0 or more."""
    for name, value in clients.items():
        entries = value if isinstance(value, tuple) else ()  # pyright: ignore[reportUnnecessaryIsInstance]
        if not entries or not all(type(entry) is int and entry >= 0 for entry in entries):
            raise ValueError(
                f"{type(algorithm).__name__} needs one or more clients, a tuple of whole numbers of at least 0, got "
                f"{name}={value!r}."
            )
