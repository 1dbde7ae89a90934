"""C++ source of a graph for one client, whose tensors stay in the first cache from one operation to the next.

The graph works on stacks of K clients. Each of its tensors is split into the views of the clients, and each operation
is written as loops over one view.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fedmtl.engines.trace.codegen import Unsupported
from fedmtl.engines.trace.cpp.client_view import ClientView, client_view
from fedmtl.engines.trace.cpp.operations import write
from fedmtl.engines.trace.cpp.scope import Known, Scope, at, dense, literal, type_of
from fedmtl.engines.trace.graph import FILLS, Graph, Node, Value, map_values

MAX_BYTES = 2**18
"""Most bytes of one client's tensors: more do not fit the caches, nor the stack of a thread."""

MAX_ROWS_BYTES = 2**16
"""Most bytes of one client's rows that are read by an index; others are copied before the call."""

_FILLS = FILLS | {"zeros", "ones", "full", "scalar_tensor"}
"""Operations whose result repeats one number."""


class Source(NamedTuple):
    """A C++ function with three arguments: the number of clients; the addresses of inputs, constants, outputs and
    indices, in this order; and the distances of the clients' rows in each input and output."""

    text: str
    constants: list[Tensor]
    """Read in place at each call."""
    outputs: list[tuple[tuple[int, ...], torch.dtype]]
    """Shape of one client's part of each output, and its type."""
    indexed: list[int]
    """Inputs [K, B, …] whose rows are read by an index [K, B]."""


def to_cpp(
    graph: Graph, tensors: Sequence[Tensor], stacked: Sequence[bool], clients: int, batches: int | None = None
) -> Source:
    """Return the C++ source of a graph.

    Args:
        graph: of a call.
        tensors: inputs like those of the traced call; the operations run on them, for the shape of each result.
        stacked: True for inputs with a row for each client, False for those that all clients share.
        clients: K.
        batches: number of the first input whose rows are read by an index; None: no input.

    Raises:
        Unlike: an operation, a type or a layout without C++.
    """
    writer = _Writer(clients)
    read = {value for node in graph.nodes for value in node.reads()} | set(graph.outputs)
    indexed, last = [], len(tensors) + len(graph.constants) + len(graph.outputs)
    for place, (value, tensor, own) in enumerate(zip(graph.inputs, tensors, stacked, strict=True)):
        if batches is not None and place >= batches and value in read and writer.is_indexable(tensor):
            writer.rows(value, tensor, place, last + len(indexed))
            indexed.append(place)
        else:
            writer.input(value, tensor, place, own)
    for place, (value, tensor) in enumerate(graph.constants.items(), len(tensors)):
        writer.constant(value, tensor, place)
    with torch.no_grad():
        for node in graph.nodes:
            writer.write(node)
    constants = list(graph.constants.values())
    first = len(tensors) + len(constants)
    steps = len(tensors)
    outputs = [writer.output(value, first + n, steps + n) for n, value in enumerate(graph.outputs)]
    lines = "\n".join(f"    {line}" for line in [*writer.pointers, *writer.lines()])
    head = 'extern "C" void program(int64_t clients, void** p, const int64_t* s) {'
    each = "  for (int64_t k = 0; k < clients; k++) {"
    return Source(f"{head}\n{each}\n{lines}\n  }}\n}}\n", constants, outputs, indexed)


class _Memory(NamedTuple):
    """Memory of a C++ name."""

    example: Tensor
    """The tensor that starts at its first element."""
    each: int | None
    """Elements from one client to the next; None if all clients share it."""
    alike: bool = False
    """True if it repeats one number, such as zeros for a stack, of which only the first is read."""


class _Writer:
    """Writes the body of the loop over clients."""

    def __init__(self, clients: int) -> None:
        self.scope = Scope()
        self.pointers: list[str] = []
        self._clients = clients
        self._memory: dict[str, _Memory] = {}
        self._bytes = 0
        self._indexed_bytes = 0
        """Bytes of a client's rows that are read by an index."""
        self._ahead: list[tuple[int, str]] = []
        """(count, statement with a counter i) of prefetches for the next client."""

    def input(self, value: Value, tensor: Tensor, place: int, own: bool) -> None:
        self._pointer(f"const {type_of(tensor)}* const x{place}", place, f"s[{place}]" if own else None)
        self._know(value, tensor, f"x{place}", _Memory(tensor, tensor.stride(0) if own else None))

    def is_indexable(self, tensor: Tensor) -> bool:
        """Return True if a client's rows of an input may be read by an index."""
        return tensor.dim() > 1 and tensor.is_contiguous() and self._indexed_bytes + tensor[0].nbytes <= MAX_ROWS_BYTES

    def rows(self, value: Value, tensor: Tensor, place: int, index: int) -> None:
        """Copy a client's rows together, and prefetch those of the next client, which may be anywhere in memory."""
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
        self._indexed_bytes += tensor[0].nbytes
        self._know(value, tensor, f"b{place}", _Memory(tensor, count * width))

    def constant(self, value: Value, tensor: Tensor, place: int) -> None:
        self._pointer(f"const {type_of(tensor)}* const x{place}", place, None)
        each, alike = None, False
        if tensor.dim() and len(tensor) and len(tensor) % self._clients == 0:  # one that vmap made for the stack
            alike = bool((tensor == tensor.reshape(-1)[0]).all())
            if tensor.is_contiguous() and len(tensor) == self._clients and bool((tensor == tensor[:1]).all()):
                each = tensor.stride(0)  # the first row stands for all
        self._know(value, tensor, f"x{place}", _Memory(tensor, each, alike))

    def write(self, node: Node) -> None:
        """Run an operation, for the shape of its result, and write its C++."""
        name, known = node.function.overloadpacket.__name__, self.scope.known
        value = node.outs[0] if node.single and not node.changed else None
        if value is None:
            raise Unsupported(f"{name} changes a tensor in place or returns several")
        if node.view is not None:
            memory, size, stride, offset = node.view
            source = known[memory].example
            example = source.as_strided(size, stride, int(source.storage_offset()) + offset)
        else:
            given = [map_values(item, lambda of: known[of].example) for item in node.args]
            named = {key: map_values(item, lambda of: known[of].example) for key, item in node.kwargs.items()}
            example = node.function(*given, **named)
        read = [known[value] for value in node.reads()]
        for other in read:
            if other.example.untyped_storage().data_ptr() == example.untyped_storage().data_ptr():  # a view
                return self._know(value, example, other.base)
        name_of_it, kind = f"t{value.number}", type_of(example)
        if name in _FILLS:
            (number,) = example.flatten()[:1].tolist() or [0]
            self.scope.lines.append(f"const {kind} {name_of_it}[1] = {{{literal(number, kind)}}};")
            return self._know(value, example, name_of_it, _Memory(example, None, alike=True))
        own = any(self._memory[other.base].each is not None for other in read)
        each = example.numel() // self._clients if own else None
        self._know(value, example, name_of_it, _Memory(example, each))
        count = math.prod(known[value].view.sizes)
        if own and each != count:
            raise Unsupported(f"a result of shape {tuple(example.shape)}, of which {count} numbers are a client's")
        self._bytes += count * example.element_size()
        if self._bytes > MAX_BYTES:
            raise Unsupported(f"a client's tensors take more than {MAX_BYTES} bytes")
        self.scope.lines.append(f"alignas(64) {kind} {name_of_it}[{count}];")
        write(self.scope, name, node, known[value])

    def output(self, value: Value, place: int, step_place: int) -> tuple[tuple[int, ...], torch.dtype]:
        """Copy a result out; a client's part is contiguous."""
        known = self.scope.known[value]
        shape = tuple(known.example.shape)
        if not shape or shape[0] != self._clients or known.view.sizes[0] != 1:
            raise Unsupported(f"a result of shape {shape} for {self._clients} clients")
        each, step = math.prod(shape[1:]), f"s[{step_place}]"
        self._pointer(f"{type_of(known.example)}* const y{place}", place, step)
        on_a_line = 64 // known.example.element_size()
        self._ahead.append((-(-each // on_a_line), f"__builtin_prefetch(y{place} + {step} + {on_a_line} * i, 1);"))
        own = ClientView((1, *shape[1:]), (0, *dense(shape[1:])), 0)
        self.scope.loop(own, f"{at(f'y{place}', own)} = {self.scope.source(known, own)};")
        return shape[1:], known.example.dtype

    def lines(self) -> list[str]:
        """Return the statements for a client, with prefetches for the next client spread between them."""
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

    def _know(self, value: Value, example: Tensor, name: str, memory: _Memory | None = None) -> None:
        """Store a tensor in new memory, or in known memory of this name."""
        if memory is not None:
            self._memory[name] = memory
        first, each, alike = self._memory[name]
        offset = int(example.storage_offset() - first.storage_offset())
        found = client_view(example.shape, example.stride(), offset, self._clients, each)
        if alike:
            found = ClientView((1,) * example.dim(), (0,) * example.dim(), 0)
        self.scope.known[value] = Known(example, name, found)
