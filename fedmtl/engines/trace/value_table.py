"""Values of a call that is traced: their memory, and which of them are equal without an operation."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fedmtl.engines.trace.graph import FILLS, Value, View
from fedmtl.engines.trace.passes import ShapeStride

UNFILLED = frozenset({"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided"})
"""Operations whose results hold arbitrary numbers."""

_COPIES = frozenset({"clone", "_to_copy", "detach", "alias", "lift_fresh", "lift_fresh_copy"})
_MARK = "_fedmtl_value"


class ValueTable:
    """Tensor -> value, by an attribute of the tensor, which lives as long as the tensor.

    Args:
        inputs: of the call.
        simplify: find values that are equal to earlier ones.
    """

    def __init__(self, inputs: Sequence[Tensor], simplify: bool) -> None:
        self._simplify = simplify
        self._count = 0
        self._token = object()
        self.constants: dict[Value, Tensor] = {}
        self.bases: dict[Value, Value] = {}
        """View -> the value whose memory it is in."""
        self.layouts: dict[Value, ShapeStride] = {}
        self._outside: set[Value] = set()
        """Tensors that were neither inputs nor made by the call."""
        self._places: dict[Any, Value] = {}
        """View, or kind of fill -> the value that is there."""
        self._placed: defaultdict[Value, list[Any]] = defaultdict(list)
        """Base -> keys of ``_places`` in its memory, which a change in place removes."""
        self._given = inputs
        self.inputs = dict.fromkeys([self.add(tensor) for tensor in inputs])

    def value_of(self, tensor: Tensor) -> Value:
        """Return the value of a tensor; one that was neither an input nor made by the call becomes a constant."""
        token, value = getattr(tensor, _MARK, (None, None))
        if token is not self._token or value is None:
            value = self.add(tensor)
            self.constants[value] = tensor
            self._outside.add(value)
        return value

    def remove_marks(self) -> None:
        """Remove the attribute from tensors that outlive the call."""
        for tensor in (*self._given, *self.constants.values()):
            if hasattr(tensor, _MARK):
                delattr(tensor, _MARK)

    def add(self, tensor: Tensor) -> Value:
        """Return a new value for a tensor."""
        value = Value(self._count)
        self._count += 1
        self.mark(tensor, value)
        self.layouts[value] = tuple(tensor.shape), tensor.stride()
        if not tensor.is_complex():
            self._place(View(value, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())), value)
        return value

    def _place(self, key: Any, value: Value) -> None:
        self._places[key] = value
        self._placed[self.base(value)].append(key)

    def mark(self, tensor: Tensor, value: Value) -> None:
        """Make a tensor stand for a value."""
        setattr(tensor, _MARK, (self._token, value))

    def base(self, value: Value) -> Value:
        """Return the value whose memory a value is in."""
        return self.bases.get(value, value)

    def add_view(self, value: Value, view: View) -> View | None:
        """Store that a value is a view; None if the view must be taken as the call took it."""
        self.bases[value] = view.base
        self._placed[view.base] += self._placed.pop(value, [])
        self._place(view, value)
        # The offset of inputs and outside tensors in their memory may differ from call to call.
        return None if self.is_foreign(view.base) else view

    def add_constant(self, value: Value, name: str, args: tuple[Any, ...], result: Tensor) -> None:
        """Store the result of an operation that is the same in every call."""
        self.constants[value] = result
        if name in FILLS:
            self._place(_filled(name, args, result), value)

    def is_foreign(self, value: Value) -> bool:
        """Return True for inputs and outside tensors, whose memory the call must not change."""
        return value in self.inputs or value in self._outside

    def change(self, changed: set[Value]) -> None:
        """Forget what is known of values whose memory is changed in place."""
        for value in [value for value in self.constants if self.base(value) in changed]:
            del self.constants[value]  # computed again in every call
        for base in changed:
            for key in self._placed.pop(base, []):
                value = self._places.get(key)
                if value is not None and self.base(value) == base:
                    del self._places[key]

    def equal(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Tensor,
        given: Sequence[Tensor],
        view: View | None,
    ) -> Value | None:
        """Return the value of an equal tensor, if the result of an operation needs none."""
        if view in self._places:
            return self._places[view]
        if name in FILLS and self._simplify and _filled(name, args, result) in self._places:
            return self._places[_filled(name, args, result)]
        own = [self.value_of(tensor) for tensor in given]
        like = [s for t, s in zip(given, own, strict=True) if _picture(t) == _picture(result)]
        if not like:
            return None
        if view is not None and result.data_ptr() == given[own.index(like[0])].data_ptr():
            return like[0]
        if name in _COPIES and self._simplify:
            return like[0]
        if name in ("mul", "div") and not kwargs and self._simplify:
            left, right = args[0], args[1]
            if name == "mul" and right in like and self._is_one(left):
                return right
            if left in like and self._is_one(right):
                return left
        return None

    def is_fixed(self, name: str, given: Sequence[Tensor]) -> bool:
        """Return True if a result is the same in every call. Outside tensors may change between calls."""
        own = [self.value_of(tensor) for tensor in given]
        kept = all(value in self.constants and value not in self._outside for value in own)
        return name in FILLS or (name not in UNFILLED and kept)

    def _is_one(self, item: Any) -> bool:
        if isinstance(item, Value):
            return item in self.constants and item not in self._outside and bool((self.constants[item] == 1).all())
        return item == 1

    def view(self, result: Tensor, given: Sequence[Tensor]) -> View | None:
        """Return the result's position in the memory of a given tensor; None if it is no view of one."""
        if result.is_complex() or result.is_neg():  # their views may carry a sign that is applied later
            return None
        memory = result.untyped_storage()._cdata
        for tensor in given:
            if tensor is not result and tensor.dtype == result.dtype and tensor.untyped_storage()._cdata == memory:
                base = self.base(self.value_of(tensor))
                return View(base, tuple(result.shape), result.stride(), int(result.storage_offset()))
        return None


def _picture(tensor: Tensor) -> Any:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.is_conj(), tensor.is_neg()


def _filled(name: str, args: tuple[Any, ...], result: Tensor) -> Any:
    return name, _picture(result), frozen(args[1:])


def frozen(item: Any) -> Any:
    """Return an argument as a hashable key, in which 1, 1.0 and True differ."""
    if isinstance(item, Value):
        return item
    if isinstance(item, (list, tuple)):
        return tuple([frozen(part) for part in item])
    return type(item), item
