"""Checks of hyper-parameters that several optimisers have."""

from typing import Any

from fedmtl.core.traits import check_traits
from fedmtl.optimizers.traits import OptimizerTraits


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_positive(optimizer: Any, **values: float) -> None:
    """Finite numbers above 0."""
    for name, value in values.items():
        if not is_number(value) or not 0 < value < float("inf"):
            raise ValueError(f"{type(optimizer).__name__} needs a finite number above 0, got {name}={value!r}.")


def check_strength(optimizer: Any, **values: float) -> None:
    """Finite numbers, 0 or more."""
    for name, value in values.items():
        if not is_number(value) or not 0 <= value < float("inf"):
            raise ValueError(f"{type(optimizer).__name__} needs a finite number of 0 or more, got {name}={value!r}.")


def check_decay(optimizer: Any, **values: float) -> None:
    """Decay rates of running means are at least 0 and below 1."""
    for name, value in values.items():
        if not is_number(value) or not 0 <= value < 1:
            raise ValueError(
                f"{type(optimizer).__name__} needs a number of at least 0 and below 1, got {name}={value!r}."
            )


def check_share(optimizer: Any, **values: float) -> None:
    """Factors of the learning rate are from 0 to 1."""
    for name, value in values.items():
        if not is_number(value) or not 0 <= value <= 1:
            raise ValueError(f"{type(optimizer).__name__} needs a number from 0 to 1, got {name}={value!r}.")


def check_rounds(optimizer: Any, **values: int) -> None:
    """Numbers of rounds are whole and at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(
                f"{type(optimizer).__name__} needs a whole number of rounds, at least 1, got {name}={value!r}."
            )


def check_optimizer(owner: Any, optimizer: Any, field: str = "optimizer") -> None:
    """An optimiser, of an algorithm or of a wrapper, has its protocol's methods and is no class."""
    if isinstance(optimizer, type) or not {"init", "direction"}.issubset(dir(optimizer)):
        raise ValueError(
            f"{type(owner).__name__} needs an optimizer such as SGD() or Momentum(beta=0.9), got {field}={optimizer!r}."
        )
    check_traits("optimizer", optimizer, OptimizerTraits)
