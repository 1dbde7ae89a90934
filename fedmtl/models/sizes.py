"""Checks of a model's fields."""

from dataclasses import fields
from typing import Any, get_type_hints

from fedmtl.core.field_types import check_type


def check_fields(model: Any) -> None:
    """Refuse values of another type than a field's: numbers, texts, and lists of them.

    Raises:
        ValueError: it names the field, the value and the type.
    """
    hints = get_type_hints(type(model))
    for field in fields(model):
        check_type(f"{type(model).__name__}: {field.name}", getattr(model, field.name), hints[field.name])


def check_positive(name: str, **sizes: Any) -> None:
    """Refuse sizes below 1.

    Args:
        name: of the model.
        sizes: numbers, or tuples of them.

    Raises:
        ValueError: it names all of them.
    """
    numbers = [size if isinstance(size, tuple) else (size,) for size in sizes.values()]
    if any(not group or min(group) < 1 for group in numbers):
        given = ", ".join(f"{field}={value}" for field, value in sizes.items())
        raise ValueError(f"{name} needs positive sizes, got {given}.")


def check_dropout(name: str, dropout: float) -> None:
    """Refuse what is no probability below 1.

    Raises:
        ValueError: it names the value and the rule.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"{name}: dropout is a probability from 0 to below 1, got {dropout}.")
