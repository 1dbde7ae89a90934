"""Trace a call of a pure function on tensors: run it, and write down its operations as a graph.

The graph has what remains after vmap, grad and Python: plain aten operations on stacked tensors. A replay of it gives
the same bits without the overhead. The graph is simplified where that cannot change a bit: repeated operations,
factors of one, copies and trivial views are left out, and results that are the same in every call are stored.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fedmtl.engines.trace.escape_guard import EscapeGuard
from fedmtl.engines.trace.graph import Graph, Node, Value, needed, values_in
from fedmtl.engines.trace.passes import pool_before_relu
from fedmtl.engines.trace.value_table import UNFILLED, ValueTable, frozen

MAX_NODES = 20_000
"""Longest graph; to trace and compile a longer call would take many seconds."""

ALIASED = "a tensor that stands for several is changed in place"
"""Reason why a call has no simplified graph."""

KEPT_BYTES = 2**18
"""Largest constant that is stored; larger ones are computed in each call."""


def trace(
    function: Callable[[Sequence[Tensor]], Sequence[Tensor]], inputs: Sequence[Tensor], simplify: bool = True
) -> tuple[Sequence[Tensor], Graph | str]:
    """Return the results of a call, and its graph, or the reason why it has none.

    Args:
        function: (tensors) -> tensors.
        inputs: of the call.
        simplify: let one value stand for equal results. The reason is ``ALIASED`` if such a tensor is changed in place
            later; without simplification that cannot happen.

    Raises:
        Exception: any error of the function.
    """
    given: list[Tensor] = []
    for tensor in inputs:  # one object given twice would be one value, and two objects in another call
        given.append(tensor.detach() if any(tensor is other for other in given) else tensor)
    tracer = _Tracer(given, simplify)
    with EscapeGuard(tracer.give_up), tracer:
        results = function(given)
    table = tracer.table
    outputs = tuple([table.value_of(tensor) for tensor in results])
    table.remove_marks()
    if tracer.reason:
        return results, tracer.reason
    nodes = pool_before_relu(tracer.nodes, outputs, table.bases, table.layouts)
    nodes = needed(nodes, outputs, table.bases, table.constants)
    read = {value for node in nodes for value in node.reads()} | set(outputs)
    constants = {value: tensor for value, tensor in table.constants.items() if value in read}
    return results, Graph(tuple(table.inputs), nodes, outputs, constants)


_REFUSED = {
    torch.Tag.data_dependent_output: "its course depends on numbers in tensors",
    torch.Tag.dynamic_output_shape: "shapes depend on numbers in tensors",
    torch.Tag.nondeterministic_seeded: "it draws random numbers",
}


@cache
def _refusal(func: Any) -> str:
    """Return the reason why calls of an operation cannot be traced; empty if they can."""
    return next((why for tag, why in _REFUSED.items() if tag in func.tags), "")


class _Tracer(TorchDispatchMode):
    """Receives every operation on plain tensors."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, since torch would import its compiler to exclude it from the method below."""
        return False

    def __init__(self, inputs: Sequence[Tensor], simplify: bool) -> None:
        super().__init__()
        self.reason = ""
        """Reason why the call has no graph."""
        self.nodes: list[Node] = []
        self.table = ValueTable(inputs, simplify)
        self._simplify = simplify
        self._done: dict[Any, tuple[Value | None, ...]] = {}
        """Operation and arguments -> its results."""
        self._merged: set[Value] = set()
        """Values that stand for more than one tensor."""

    def give_up(self, reason: str) -> None:
        self.reason = reason

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.reason:
            self.reason = self._obstacle(func, result)
        if not self.reason:
            self._write(func, args, kwargs or {}, result)
        return result

    def _obstacle(self, func: Any, result: Any) -> str:
        if refusal := _refusal(func):
            return refusal
        if len(self.nodes) >= MAX_NODES:
            return f"it has more than {MAX_NODES} operations"
        parts = result if isinstance(result, (tuple, list)) else (result,)
        if not all(part is None or isinstance(part, Tensor) for part in parts):
            return f"{func} returns something that is no tensor"
        return ""

    def _write(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        given: list[Tensor] = []
        plain = tuple([self._plain(item, given) for item in args])
        named = {key: self._plain(item, given) for key, item in kwargs.items()}
        if func._schema.is_mutable:
            return self._change(func, plain, named)
        table, name = self.table, func.overloadpacket.__name__
        view = None
        if isinstance(result, Tensor):
            view = table.view(result, given)
            known = table.equal(name, plain, named, result, given, view)
            if known is not None:
                if view is None:
                    self._merged.add(table.base(known))
                return table.mark(result, known)
        parts: tuple[Tensor | None, ...] = (result,) if isinstance(result, Tensor) else tuple(result)
        key = (func, frozen(plain), frozen(sorted(named.items()))) if self._simplify and name not in UNFILLED else None
        if key in self._done:
            for part, value in zip(parts, self._done[key], strict=True):
                if part is not None and value is not None:
                    self._merged.add(table.base(value))
                    table.mark(part, value)
            return None
        outs = tuple([None if part is None else table.add(part) for part in parts])
        value = outs[0]
        if isinstance(result, Tensor) and value is not None:
            if view is not None:
                view = table.add_view(value, view)
            if table.is_fixed(name, given) and result.untyped_storage().nbytes() <= KEPT_BYTES:
                table.add_constant(value, name, plain, result)
        if key is not None:
            self._done[key] = outs
        self.nodes.append(Node(func, plain, named, outs, isinstance(result, Tensor), view))
        return None

    def _change(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Write down an operation in place; earlier results in the changed memory stand for no later ones."""
        changed: set[Value] = set()
        for number, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                item = kwargs.get(argument.name) if number >= len(args) else args[number]
                changed.update(self.table.base(value) for value in values_in([item]))
        if any(map(self.table.is_foreign, changed)):
            self.reason = f"{func} changes in place what is not the call's own"
        elif changed & self._merged:
            self.reason = ALIASED
        self.table.change(changed)
        self._done.clear()
        outs = tuple(None for _ in func._schema.returns)
        self.nodes.append(Node(func, args, kwargs, outs, len(outs) == 1, None, frozenset(changed)))

    def _plain(self, item: Any, given: list[Tensor]) -> Any:
        """Return an argument with values in place of tensors, which are appended to ``given``."""
        if isinstance(item, Tensor):
            given.append(item)
            return self.table.value_of(item)
        if isinstance(item, (list, tuple)):
            return [self._plain(part, given) for part in item]
        return item
