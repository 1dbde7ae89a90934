"""Modules of equal models and tasks that are built and checked once a process of tests, and copied.

A build, which draws the weights and tries each part for what a module must not do, is a fifth of a tiny run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields
from functools import cache
from typing import Any
from unittest.mock import patch

from fedmtl.models import FromModule, Pretrained, Stems, TextEncoder, Timm, Transformers
from fedmtl.models.split import SplitModel, build
from fedmtl.protocol import plan

OTHERS = (FromModule, Pretrained, Stems, TextEncoder, Timm, Transformers)
"""Recipes that are more than their fields: a module or a file, which may change between two builds."""


def _is_value(model: Any) -> bool:
    """Whether equal recipes build equal modules, for certain: those of tests may do what they like."""
    if not type(model).__module__.startswith("fedmtl.models.") and type(model).__name__ != "Normed":
        return False
    inner = [value for field in fields(model) if hasattr(value := getattr(model, field.name), "head")]
    return not isinstance(model, OTHERS) and all(map(_is_value, inner))


@cache
def _built(model: Any, input_shape: Any, tasks: Any, seed: int, integer_inputs: bool) -> SplitModel:
    return build(model, input_shape, dict(tasks), seed, integer_inputs)


def _copied(model: Any, input_shape: Any, tasks: Any, seed: int, integer_inputs: bool, forms: Any) -> SplitModel:
    if forms or not _is_value(model):
        return build(model, input_shape, tasks, seed, integer_inputs, forms)
    return deepcopy(_built(model, input_shape, tuple(tasks.items()), seed, integer_inputs))


@contextmanager
def built_once() -> Iterator[None]:
    """Give plans that are made meanwhile copies of a module."""
    with patch.object(plan, "build", _copied):
        yield


@contextmanager
def built_anew() -> Iterator[None]:
    """Give plans that are made meanwhile modules of their own, also inside ``built_once``."""
    with patch.object(plan, "build", build):
        yield
