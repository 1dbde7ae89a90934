"""A call of a pure function on tensors, written down operation by operation while it runs.

What is written down is what remains when vmap, grad and Python are done: plain aten operations on stacked tensors.
Played back, they give the same bits without the overhead. On the way in the list is thinned by what cannot change a
bit: an operation that was done before is not done again, a constant is kept, a factor of one is left out, and so is a
copy or a view that is the tensor itself.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fedmtl.engines.trace.graph import FILLS, Operation, Recording, Slot, View, needed, slots
from fedmtl.engines.trace.passes import Layout, pool_before_relu

MAX_OPERATIONS = 20_000
"""Longer calls are left as they are: writing them down and compiling the list would take many seconds."""

SHARED = "a tensor that stands for several is changed in place"
"""The reason why a call cannot be written down thin."""

KEPT_BYTES = 2**18
"""Constants up to this size are kept; larger ones are made again each time."""


def record(
    function: Callable[[Sequence[Tensor]], Sequence[Tensor]], inputs: Sequence[Tensor], thin: bool = True
) -> tuple[Sequence[Tensor], Recording | str]:
    """The results of a call, and the call written down, or the reason why it cannot be.

    Args:
        function: (tensors) -> tensors.
        inputs: what it is called with.
        thin: leave out what was done before. It is then ``SHARED`` that a tensor is changed in place after another
            was taken to be the same; with False there are no such tensors.

    Raises:
        Exception: whatever the function raises.
    """
    given: list[Tensor] = []
    for tensor in inputs:  # one object given twice would be one slot, and two objects another time
        given.append(tensor.detach() if any(tensor is other for other in given) else tensor)
    recorder = _Recorder(given, thin)
    with _Leaks(recorder), recorder:
        results = function(given)
    outputs = tuple([recorder.slot_of(tensor) for tensor in results])
    recorder.forget()
    if recorder.reason:
        return results, recorder.reason
    operations = pool_before_relu(recorder.operations, outputs, recorder.bases, recorder.layouts)
    operations = needed(operations, outputs, recorder.bases, recorder.constants)
    read = {slot for operation in operations for slot in operation.reads()} | set(outputs)
    constants = {slot: tensor for slot, tensor in recorder.constants.items() if slot in read}
    return results, Recording(tuple(recorder.inputs), operations, outputs, constants)


class _Leaks(TorchFunctionMode):
    """Notices when numbers leave the tensors by a door that no operation marks."""

    DOORS = frozenset({"numpy", "tolist", "__array__", "__dlpack__"})

    def __init__(self, recorder: "_Recorder") -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in self.DOORS:
            self._recorder.reason = f"it reads numbers out of tensors by {name}"
        return func(*args, **(kwargs or {}))


_REFUSED = {
    torch.Tag.data_dependent_output: "its course depends on numbers in tensors",
    torch.Tag.dynamic_output_shape: "shapes depend on numbers in tensors",
    torch.Tag.nondeterministic_seeded: "it draws random numbers",
}


@cache
def _refusal(func: Any) -> str:
    """Why calls of this operation cannot be recorded, or nothing."""
    return next((why for tag, why in _REFUSED.items() if tag in func.tags), "")


_UNFILLED = frozenset({"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided"})
_COPIES = frozenset({"clone", "_to_copy", "detach", "alias", "lift_fresh", "lift_fresh_copy"})
_MARK = "_fedmtl_slot"


class _Recorder(TorchDispatchMode):
    """Sees every operation on plain tensors. Tensors carry their slot as an attribute, which lives as long as they."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: torch would import its compiler to keep it out of the method below, where it never is."""
        return False

    def __init__(self, inputs: Sequence[Tensor], thin: bool) -> None:
        super().__init__()
        self.reason = ""
        self._thin = thin
        self.operations: list[Operation] = []
        self.constants: dict[Slot, Tensor] = {}
        self._count = 0
        self._token = object()
        self.bases: dict[Slot, Slot] = {}
        self.layouts: dict[Slot, Layout] = {}
        self._done: dict[Any, tuple[Slot | None, ...]] = {}
        self._merged: set[Slot] = set()
        self._outside: set[Slot] = set()
        self._places: dict[Any, Slot] = {}
        self._placed: defaultdict[Slot, list[Any]] = defaultdict(list)
        """Keys of ``_places`` by the base of the slot, so that a change in place finds those of its memory."""
        self._given = inputs
        self.inputs = dict.fromkeys([self._new(tensor) for tensor in inputs])

    def slot_of(self, tensor: Tensor) -> Slot:
        """A tensor that was neither given nor made during the call is a constant."""
        token, slot = getattr(tensor, _MARK, (None, None))
        if token is not self._token or slot is None:
            slot = self._new(tensor)
            self.constants[slot] = tensor
            self._outside.add(slot)
        return slot

    def forget(self) -> None:
        """Take the marks off tensors that live on."""
        for tensor in (*self._given, *self.constants.values()):
            if hasattr(tensor, _MARK):
                delattr(tensor, _MARK)

    def _new(self, tensor: Tensor) -> Slot:
        slot = Slot(self._count)
        self._count += 1
        self._mark(tensor, slot)
        self.layouts[slot] = tuple(tensor.shape), tensor.stride()
        if not tensor.is_complex():
            self._place(View(slot, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())), slot)
        return slot

    def _place(self, key: Any, slot: Slot) -> None:
        self._places[key] = slot
        self._placed[self.bases.get(slot, slot)].append(key)

    def _mark(self, tensor: Tensor, slot: Slot) -> None:
        setattr(tensor, _MARK, (self._token, slot))

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
        if len(self.operations) >= MAX_OPERATIONS:
            return f"it has more than {MAX_OPERATIONS} operations"
        parts = result if isinstance(result, (tuple, list)) else (result,)
        if not all(part is None or isinstance(part, Tensor) for part in parts):
            return f"{func} gives something that is no tensor"
        return ""

    def _write(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        given: list[Tensor] = []
        plain = tuple([self._plain(item, given) for item in args])
        named = {key: self._plain(item, given) for key, item in kwargs.items()}
        if func._schema.is_mutable:
            return self._change(func, plain, named)
        name = func.overloadpacket.__name__
        view = None
        if isinstance(result, Tensor):
            view = self._view(result, given)
            known = self._known(name, plain, named, result, given, view)
            if known is not None:
                if view is None:
                    self._merged.add(self.bases.get(known, known))
                return self._mark(result, known)
        parts: tuple[Tensor | None, ...] = (result,) if isinstance(result, Tensor) else tuple(result)
        key = (func, _frozen(plain), _frozen(sorted(named.items()))) if self._thin and name not in _UNFILLED else None
        if key in self._done:
            for part, slot in zip(parts, self._done[key], strict=True):
                if part is not None and slot is not None:
                    self._merged.add(self.bases.get(slot, slot))
                    self._mark(part, slot)
            return
        outs = tuple([None if part is None else self._new(part) for part in parts])
        slot = outs[0]
        if isinstance(result, Tensor) and slot is not None:
            if view is not None:
                self.bases[slot] = view.base
                self._placed[view.base] += self._placed.pop(slot, [])
                self._place(view, slot)
                if view.base in self.inputs or view.base in self._outside:
                    view = None  # where these begin in their memory may differ from call to call
            if self._is_fixed(name, plain, given) and result.untyped_storage().nbytes() <= KEPT_BYTES:
                self.constants[slot] = result
                if name in FILLS:
                    self._place(_filled(name, plain, result), slot)
        if key is not None:
            self._done[key] = outs
        self.operations.append(Operation(func, plain, named, outs, isinstance(result, Tensor), view))

    def _change(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An operation in place. Nothing that was read from this memory before may stand for what is read later."""
        changed: set[Slot] = set()
        for number, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                item = kwargs.get(argument.name) if number >= len(args) else args[number]
                changed.update(self.bases.get(slot, slot) for slot in slots([item]))
        if changed & (self.inputs.keys() | self._outside):
            self.reason = f"{func} changes in place what is not the call's own"
        elif changed & self._merged:
            self.reason = SHARED
        for slot in [slot for slot in self.constants if self.bases.get(slot, slot) in changed]:
            del self.constants[slot]  # made again in every call
        for base in changed:
            for key in self._placed.pop(base, []):
                slot = self._places.get(key)
                if slot is not None and self.bases.get(slot, slot) == base:
                    del self._places[key]
        self._done.clear()
        outs = tuple(None for _ in func._schema.returns)
        self.operations.append(Operation(func, args, kwargs, outs, len(outs) == 1, None, frozenset(changed)))

    def _plain(self, item: Any, given: list[Tensor]) -> Any:
        if isinstance(item, Tensor):
            given.append(item)
            return self.slot_of(item)
        if isinstance(item, (list, tuple)):
            return [self._plain(part, given) for part in item]
        return item

    def _known(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Tensor,
        given: Sequence[Tensor],
        view: View | None,
    ) -> Slot | None:
        """The slot of an equal tensor, where no operation is needed for the result."""
        if view in self._places:
            return self._places[view]
        if name in FILLS and self._thin and _filled(name, args, result) in self._places:
            return self._places[_filled(name, args, result)]
        own = [self.slot_of(tensor) for tensor in given]
        like = [s for t, s in zip(given, own, strict=True) if _picture(t) == _picture(result)]
        if not like:
            return None
        if view is not None and result.data_ptr() == given[own.index(like[0])].data_ptr():
            return like[0]
        if name in _COPIES and self._thin:
            return like[0]
        if name in ("mul", "div") and not kwargs and self._thin:
            left, right = args[0], args[1]
            if name == "mul" and right in like and self._is_one(left):
                return right
            if left in like and self._is_one(right):
                return left
        return None

    def _is_fixed(self, name: str, args: tuple[Any, ...], given: Sequence[Tensor]) -> bool:
        """Whether the result is the same in every call. What the function holds may change, so it counts as given."""
        own = [self.slot_of(tensor) for tensor in given]
        kept = all(slot in self.constants and slot not in self._outside for slot in own)
        return name in FILLS or (name not in _UNFILLED and kept)

    def _is_one(self, value: Any) -> bool:
        if isinstance(value, Slot):
            return value in self.constants and value not in self._outside and bool((self.constants[value] == 1).all())
        return value == 1

    def _view(self, result: Tensor, given: Sequence[Tensor]) -> View | None:
        if result.is_complex() or result.is_neg():  # their views may carry a sign that is applied late
            return None
        memory = result.untyped_storage()._cdata
        for tensor in given:
            if tensor is not result and tensor.dtype == result.dtype and tensor.untyped_storage()._cdata == memory:
                slot = self.slot_of(tensor)
                base = self.bases.get(slot, slot)
                return View(base, tuple(result.shape), result.stride(), int(result.storage_offset()))
        return None


def _picture(tensor: Tensor) -> Any:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.is_conj(), tensor.is_neg()


def _filled(name: str, args: tuple[Any, ...], result: Tensor) -> Any:
    return name, _picture(result), _frozen(args[1:])


def _frozen(value: Any) -> Any:
    """Hashable, and 1, 1.0 and True stay apart."""
    if isinstance(value, Slot):
        return value
    if isinstance(value, (list, tuple)):
        return tuple([_frozen(item) for item in value])
    return type(value), value
