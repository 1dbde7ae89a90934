"""Modules of equal models and tasks that are built and checked once, and copied."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import Any
from unittest.mock import patch

from fedmtl.models.split import SplitModel, build
from fedmtl.protocol import plan


@cache
def _built(model: Any, input_shape: Any, tasks: Any, seed: int, integer_inputs: bool) -> SplitModel:
    return build(model, input_shape, dict(tasks), seed, integer_inputs)


@contextmanager
def built_once() -> Iterator[None]:
    """Give plans that are made meanwhile copies of a module, which is most of the time that a plan takes."""

    def copied(model: Any, input_shape: Any, tasks: Any, seed: int, integer_inputs: bool, forms: Any) -> SplitModel:
        if forms:
            return build(model, input_shape, tasks, seed, integer_inputs, forms)
        return deepcopy(_built(model, input_shape, tuple(tasks.items()), seed, integer_inputs))

    with patch.object(plan, "build", copied):
        yield
