"""Clients' functions whose results are kept, for tests that compare two ways to call the same pure functions."""

from functools import cache
from typing import Any

from fedmtl.core.context import Context
from fedmtl.core.trees import sha256
from fedmtl.core.types import Batch, Payload, TaskSet
from fedmtl.engines.base import ClientFn
from fedmtl.protocol.plan import Plan


class Remembered:
    """A pure function of a client that is computed once for inputs of equal bits. No caller may change a result."""

    def __init__(self, function: ClientFn, found: dict[str, Any]) -> None:
        self.function, self._found = function, found

    def __call__(self, down: Payload, private: Any, batches: Any, ctx: Context) -> Any:
        bits = sha256((down, private, list[Batch](batches), _fields(ctx)))
        if bits not in self._found:
            self._found[bits] = self.function(down, private, batches, ctx)
        return self._found[bits]


def _fields(ctx: Context) -> tuple[Any, ...]:
    if ctx.schedule_step is None:
        return ()
    return ctx.round, ctx.own_key(), ctx.path


def remembered(plan: Plan, memory: dict[Any, dict[str, Any]] | None = None) -> Plan:
    """Make the plan's clients compute once for inputs of equal bits: not to be stacked, as stacks have no bits.

    Args:
        plan: whose functions are replaced.
        memory: of plans of the same data, model, algorithm and seed, whose functions are the same.
    """
    training, measure = plan.training, plan.measure
    found = {} if memory is None else memory

    @cache
    def training_once(owned: TaskSet) -> ClientFn:
        return Remembered(training(owned), found.setdefault(("training", owned), {}))

    @cache
    def measure_once(owned: TaskSet) -> ClientFn:
        return Remembered(measure(owned), found.setdefault(("measure", owned), {}))

    vars(plan).update(training=training_once, measure=measure_once)
    return plan
