"""Checks of the numbers that links, devices, availability, radios and policies are made of."""

import math
from collections.abc import Sequence
from typing import Any

from fedmtl.core.bounds import shown

BYTES = 125_000.0
"""Bytes a second in a megabit a second."""


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_range(component: Any, least: float, most: float = math.inf, **values: Any) -> None:
    """Refuse what is no finite number from ``least`` to ``most``.

    Raises:
        ValueError: it names the component, the field, the value and the rule.
    """
    for name, value in values.items():
        if not is_number(value) or not least <= value <= most or math.isinf(value):
            rule = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
            raise ValueError(f"{type(component).__name__}: {name} is a finite number {rule}, got {shown(value)}.")


def check_above(component: Any, **values: Any) -> None:
    """Refuse what is no finite number above 0.

    Raises:
        ValueError: it names the component, the field, the value and the rule.
    """
    for name, value in values.items():
        if not is_number(value) or not 0 < value < math.inf:
            raise ValueError(f"{type(component).__name__}: {name} is a finite number above 0, got {shown(value)}.")


def check_columns(component: Any, **columns: Sequence[float]) -> None:
    """Refuse lists of unlike length, empty ones, and numbers that are negative or not finite.

    Raises:
        ValueError: it names the component, the fields, the values and the rule.
    """
    names = ", ".join(columns)
    if not all(isinstance(column, tuple) for column in columns.values()):
        raise ValueError(f"{type(component).__name__}: {names} are lists of numbers, got {shown(columns)}.")
    if len({len(column) for column in columns.values()}) > 1 or not all(columns.values()):
        lengths = {name: len(column) for name, column in columns.items()}
        raise ValueError(f"{type(component).__name__}: {names} have one number for each class, got {shown(lengths)}.")
    for name, column in columns.items():
        for value in column:
            check_range(component, 0, **{name: value})
