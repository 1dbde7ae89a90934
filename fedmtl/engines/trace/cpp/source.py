"""A recorded call as C++ for one client: its tensors stay in the first cache from one operation to the next.

The recording works on stacks of K clients. Each of its tensors is taken apart into the shares of the clients, and each
operation is written as loops over one share.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.engines.trace.cpp.operations import write
from fedmtl.engines.trace.cpp.scope import Known, Scope, at, dense, literal, type_of
from fedmtl.engines.trace.cpp.shares import Share, Unlike, share
from fedmtl.engines.trace.graph import FILLS, Operation, Recording, Slot, swapped

MAX_BYTES = 2**18
"""Of one client's tensors: more do not fit the caches, nor the stack of a thread."""

MAX_ROWS_BYTES = 2**16
"""Of one client's rows that are found by an index: what is more is copied together before."""

_FILLS = FILLS | {"zeros", "ones", "full", "scalar_tensor"}
"""Operations that make one number many times."""


class Source(NamedTuple):
    """Of a function that is called with three things: how many clients; the addresses of inputs, constants, outputs and
    indices, in this order; and how far the clients' rows lie apart in each input and output."""

    text: str
    constants: list[Tensor]
    """They are read where they are at each call."""
    outputs: list[tuple[tuple[int, ...], torch.dtype]]
    """Shapes of one client's, and types."""
    indexed: list[int]
    """Inputs [K, B, …] of which each row is found by an index, [K, B]."""


def to_cpp(
    recording: Recording, tensors: Sequence[Tensor], stacked: Sequence[bool], clients: int, batches: int | None = None
) -> Source:
    """The call as C++.

    Args:
        recording: of a call.
        tensors: inputs like those that it was recorded with; what is done to them tells the shape of each result.
        stacked: which of them have a row for each client, the others are everybody's.
        clients: K.
        batches: from which input on rows are found by an index; None: none.

    Raises:
        Unlike: an operation, a type or a layout that is not known here.
    """
    writer = _Writer(clients)
    read = {slot for operation in recording.operations for slot in operation.reads()} | set(recording.outputs)
    indexed, last = [], len(tensors) + len(recording.constants) + len(recording.outputs)
    for place, (slot, tensor, own) in enumerate(zip(recording.inputs, tensors, stacked, strict=True)):
        if batches is not None and place >= batches and slot in read and writer.may_find(tensor):
            writer.rows(slot, tensor, place, last + len(indexed))
            indexed.append(place)
        else:
            writer.input(slot, tensor, place, own)
    for place, (slot, tensor) in enumerate(recording.constants.items(), len(tensors)):
        writer.constant(slot, tensor, place)
    with torch.no_grad():
        for operation in recording.operations:
            writer.write(operation)
    constants = list(recording.constants.values())
    first = len(tensors) + len(constants)
    steps = len(tensors)
    outputs = [writer.output(slot, first + n, steps + n) for n, slot in enumerate(recording.outputs)]
    lines = "\n".join(f"    {line}" for line in [*writer.pointers, *writer.lines()])
    head = 'extern "C" void program(int64_t clients, void** p, const int64_t* s) {'
    each = "  for (int64_t k = 0; k < clients; k++) {"
    return Source(f"{head}\n{each}\n{lines}\n  }}\n}}\n", constants, outputs, indexed)


class _Base(NamedTuple):
    """Memory that a name stands for."""

    value: Tensor
    """What begins where it does."""
    each: int | None
    """Elements from one client to the next; None where it is everybody's."""
    alike: bool = False
    """Whether it holds one number many times, such as zeros for a stack, and is read as that."""


class _Writer:
    def __init__(self, clients: int) -> None:
        self.scope = Scope()
        self.pointers: list[str] = []
        self._clients = clients
        self._bases: dict[str, _Base] = {}
        self._bytes = 0
        self._found = 0
        """Bytes of rows that are found by an index."""
        self._ahead: list[tuple[int, str]] = []
        """How often, and with i counting, what to ask of memory for the next client."""

    def input(self, slot: Slot, tensor: Tensor, place: int, own: bool) -> None:
        self._pointer(f"const {type_of(tensor)}* const x{place}", place, f"s[{place}]" if own else None)
        self._know(slot, tensor, f"x{place}", _Base(tensor, tensor.stride(0) if own else None))

    def may_find(self, tensor: Tensor) -> bool:
        """Whether a client's rows of an input may be found by an index."""
        return tensor.dim() > 1 and tensor.is_contiguous() and self._found + tensor[0].nbytes <= MAX_ROWS_BYTES

    def rows(self, slot: Slot, tensor: Tensor, place: int, index: int) -> None:
        """Copy a client's rows together, and ask for those of the next: they may be anywhere in memory."""
        count, width, kind = tensor.shape[1], math.prod(tensor.shape[2:]), type_of(tensor)
        self._pointer(f"const {kind}* const x{place}", place, None)
        self._pointer(f"const int64_t* const n{place}", index, count)
        self.scope.lines.append(f"alignas(64) {kind} b{place}[{count * width}];")
        row = f"x{place} + n{place}[%s] * {width}"
        copy = f"std::memcpy(b{place} + i * {width}, {row % 'i'}, {width} * sizeof({kind}));"
        self.scope.lines.append(f"for (int i = 0; i < {count}; i++) {copy}")
        next_row = row % f"i + (k + 1 < clients ? {count} : 0)"
        self._ahead.append(
            (count, f"for (int j = 0; j < {width}; j += 64 / sizeof({kind})) __builtin_prefetch({next_row} + j);")
        )
        self._found += tensor[0].nbytes
        self._know(slot, tensor, f"b{place}", _Base(tensor, count * width))

    def constant(self, slot: Slot, tensor: Tensor, place: int) -> None:
        self._pointer(f"const {type_of(tensor)}* const x{place}", place, None)
        each, alike = None, False
        if tensor.dim() and len(tensor) and len(tensor) % self._clients == 0:  # one that vmap has made for the stack
            alike = bool((tensor == tensor.reshape(-1)[0]).all())
            if tensor.is_contiguous() and len(tensor) == self._clients and bool((tensor == tensor[:1]).all()):
                each = tensor.stride(0)  # the first row stands for all
        self._know(slot, tensor, f"x{place}", _Base(tensor, each, alike))

    def write(self, operation: Operation) -> None:
        """One operation: done here, for the shape of its result, and written down."""
        name, known = operation.function.overloadpacket.__name__, self.scope.known
        slot = operation.outs[0] if operation.single and not operation.changed else None
        if slot is None:
            raise Unlike(f"{name} changes a tensor in place or makes several")
        if operation.view is not None:
            base, size, stride, offset = operation.view
            source = known[base].value
            value = source.as_strided(size, stride, int(source.storage_offset()) + offset)
        else:
            given = [swapped(item, lambda of: known[of].value) for item in operation.args]
            named = {key: swapped(item, lambda of: known[of].value) for key, item in operation.kwargs.items()}
            value = operation.function(*given, **named)
        read = [known[slot] for slot in operation.reads()]
        for other in read:
            if other.value.untyped_storage().data_ptr() == value.untyped_storage().data_ptr():  # a view
                return self._know(slot, value, other.base)
        name_of_it, kind = f"t{slot.number}", type_of(value)
        if name in _FILLS:
            (number,) = value.flatten()[:1].tolist() or [0]
            self.scope.lines.append(f"const {kind} {name_of_it}[1] = {{{literal(number, kind)}}};")
            return self._know(slot, value, name_of_it, _Base(value, None, alike=True))
        own = any(self._bases[other.base].each is not None for other in read)
        each = value.numel() // self._clients if own else None
        self._know(slot, value, name_of_it, _Base(value, each))
        count = math.prod(known[slot].share.sizes)
        if own and each != count:
            raise Unlike(f"a result of shape {tuple(value.shape)}, of which {count} numbers are a client's")
        self._bytes += count * value.element_size()
        if self._bytes > MAX_BYTES:
            raise Unlike(f"a client's tensors take more than {MAX_BYTES} bytes")
        self.scope.lines.append(f"alignas(64) {kind} {name_of_it}[{count}];")
        write(self.scope, name, operation, known[slot])

    def output(self, slot: Slot, place: int, step_place: int) -> tuple[tuple[int, ...], torch.dtype]:
        """Copy a result out; a client's part is contiguous."""
        known = self.scope.known[slot]
        shape = tuple(known.value.shape)
        if not shape or shape[0] != self._clients or known.share.sizes[0] != 1:
            raise Unlike(f"a result of shape {shape} for {self._clients} clients")
        each, step = math.prod(shape[1:]), f"s[{step_place}]"
        self._pointer(f"{type_of(known.value)}* const y{place}", place, step)
        on_a_line = 64 // known.value.element_size()
        self._ahead.append((-(-each // on_a_line), f"__builtin_prefetch(y{place} + {step} + {on_a_line} * i, 1);"))
        own = Share((1, *shape[1:]), (0, *dense(shape[1:])), 0)
        self.scope.loop(own, f"{at(f'y{place}', own)} = {self.scope.source(known, own)};")
        return shape[1:], known.value.dtype

    def lines(self) -> list[str]:
        """What is done for a client, and between it what the next will need: all at once would wait for memory."""
        found, parts = [], len(self.scope.lines)
        for part, line in enumerate(self.scope.lines):
            found.append(line)
            for count, statement in self._ahead:
                first, last = count * part // parts, count * (part + 1) // parts
                if first < last:
                    found.append(f"for (int i = {first}; i < {last}; i++) {statement}")
        return found

    def _pointer(self, declared: str, place: int, each: int | str | None) -> None:
        kind = declared[: declared.rindex("*") + 1]
        step = "" if each is None else f" + k * {each}"
        self.pointers.append(f"{declared} = ({kind})p[{place}]{step};")

    def _know(self, slot: Slot, value: Tensor, name: str, base: _Base | None = None) -> None:
        """A tensor in new memory, or in some that has this name already."""
        if base is not None:
            self._bases[name] = base
        first, each, alike = self._bases[name]
        offset = int(value.storage_offset() - first.storage_offset())
        found = share(value.shape, value.stride(), offset, self._clients, each)
        if alike:
            found = Share((1,) * value.dim(), (0,) * value.dim(), 0)
        self.scope.known[slot] = Known(value, name, found)
