"""A recorded call as Python source: one line an operation, a name let go after its last use."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fedmtl.engines.base import LazyRows
from fedmtl.engines.kernels.products import batched_product
from fedmtl.engines.trace.graph import Operation, Recording, Slot

_DIRECT = frozenset(
    "mm baddbmm relu neg exp log sqrt rsqrt abs sigmoid tanh mul add sub div where eq ne gt ge lt le bitwise_and "
    "bitwise_or bitwise_not logical_and logical_not isnan clamp sum amax amin addcmul addcdiv gather scatter_add stack "
    "cat unsqueeze transpose permute _log_softmax _log_softmax_backward_data _softmax _softmax_backward_data square "
    "convolution minimum maximum".split()
)
"""Operations that ``torch.<name>`` starts in half the time of the overload, with the same arguments and bits."""

Program = Callable[[Sequence[Tensor]], list[Tensor]]


class Native(Protocol):
    """A program that reads examples and writes results where they are."""

    def __call__(self, inputs: Sequence[Tensor | LazyRows], places: Sequence[Tensor | None] = (), /) -> list[Tensor]:
        """As many rows of results as of inputs; places are [k, …], or None for a new tensor."""
        ...


def compile_program(recording: Recording) -> Program:
    """A function from the call's inputs to its outputs. Inputs must have the recorded shapes, strides and dtypes."""
    names: dict[str, Any] = {"torch": torch, "inf": math.inf, "nan": math.nan}
    names |= {_name(slot): tensor for slot, tensor in recording.constants.items()}
    last: dict[Slot, int] = {}
    for number, operation in enumerate(recording.operations):
        last |= dict.fromkeys(operation.reads(), number)
        last |= dict.fromkeys([slot for slot in operation.outs if slot is not None and slot not in last], number)
    kept = set(recording.outputs) | set(recording.constants)
    lines = ["def program(inputs):"]
    if recording.inputs:
        lines.append(f" {', '.join(map(_name, recording.inputs))}, = inputs")
    for number, operation in enumerate(recording.operations):
        lines.append(f" {_targets(operation)} = {_call(operation, names)}")
        over = [slot for slot in {*operation.reads(), *operation.outs} if slot is not None and slot not in kept]
        over = sorted(_name(slot) for slot in over if last[slot] == number)
        if over:
            lines.append(f" {' = '.join(over)} = None")
    lines.append(f" return [{', '.join(map(_name, recording.outputs))}]")
    exec(compile("\n".join(lines), "<recorded call>", "exec"), names)
    return names["program"]


def _name(slot: Slot) -> str:
    return f"t{slot.number}"


def _targets(operation: Operation) -> str:
    targets = ["_" if slot is None else _name(slot) for slot in operation.outs]
    return targets[0] if operation.single or not targets else f"{', '.join(targets)},"


def _call(operation: Operation, names: dict[str, Any]) -> str:
    if operation.view is not None:
        base, size, stride, offset = operation.view
        return f"{_name(base)}.as_strided({size}, {stride}, {offset})"
    packet = operation.function.overloadpacket.__name__
    if operation.function is torch.ops.aten.bmm.default:  # what ran when it was recorded
        return (
            f"{_constant(batched_product, names, packet)}({', '.join(_source(item, names) for item in operation.args)})"
        )
    if operation.function.namespace == "aten" and packet in _DIRECT and hasattr(torch, packet):
        function = f"torch.{packet}"
    else:
        function = _constant(operation.function, names, packet)
    arguments = [_source(item, names) for item in operation.args]
    arguments += [f"{key}={_source(item, names)}" for key, item in operation.kwargs.items()]
    return f"{function}({', '.join(arguments)})"


def _source(item: Any, names: dict[str, Any]) -> str:
    if isinstance(item, Slot):
        return _name(item)
    if isinstance(item, list):
        return f"[{', '.join(_source(part, names) for part in item)}]"
    if item is None or isinstance(item, (bool, int, float)):
        return repr(item)
    return _constant(item, names, "c")


def _constant(value: Any, names: dict[str, Any], stem: str) -> str:
    """A name for a value that has no literal."""
    name = f"{stem}_{id(value)}"
    names[name] = value
    return name
