"""A recorded call with its operations in another order: the same bits for less work.

ReLU and the largest number of a window can change places,

    max ReLU(x) = ReLU(max x)                                                                               (1)

and so can their gradients: both orders give all of it to the first of the largest numbers, or none where no number is
positive. After pooling there is a quarter, say, of the numbers to rectify.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from fedmtl.engines.trace.graph import Operation, Slot, View

aten = torch.ops.aten

Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape and stride."""


class Pooled(NamedTuple):
    """A ReLU of which nothing is used but its pooled numbers: places in the list of operations."""

    relu: int
    pool: int
    gradients: tuple[int, int] | None
    """Backward of the pooling and of the ReLU; None in a call without gradients."""


def pool_before_relu(
    operations: Sequence[Operation], outputs: Sequence[Slot], bases: Mapping[Slot, Slot], layouts: Mapping[Slot, Layout]
) -> list[Operation]:
    """The operations, with (1) read from left to right wherever it can be. What was replaced may be left over.

    Args:
        operations: of a call; one that changes something in place is left as it is.
        outputs: what the call gives.
        bases: tensor -> the tensor in whose memory it lies, where that is another.
        layouts: of every tensor.
    """
    call = _Call(operations, outputs, bases, layouts)
    if any(operation.changed for operation in operations):
        return list(operations)
    instead: dict[int, list[Operation]] = {}
    number = 1 + max((slot.number for slot in layouts), default=-1)
    for place in range(len(operations)):
        pooled = call.pooled(place)
        if pooled is None:
            continue
        pool, (x,) = operations[pooled.pool], operations[pooled.relu].args
        raw, moved, gradient = (Slot(number + k) for k in range(3))
        number += 3
        # x and ReLU(x) lie in memory in the same order, so that windows of one are windows of the other.
        view = View(bases.get(x, x), *layouts[pool.args[0]], call.offset(x))
        values, indices = pool.outs
        instead[pooled.pool] = [
            Operation(aten.as_strided.default, (x,), {}, (moved,), True, view),
            pool._replace(args=(moved, *pool.args[1:]), outs=(raw, indices)),
            Operation(aten.relu.default, (raw,), {}, (values,), True),
        ]
        if pooled.gradients is not None:
            backward, rectified = (operations[each] for each in pooled.gradients)
            masked = (backward.args[0], values, 0)
            instead[pooled.gradients[0]] = [
                Operation(aten.threshold_backward.default, masked, {}, (gradient,), True),
                backward._replace(args=(gradient, moved, *backward.args[2:])),
            ]
            whole, out = backward.outs[0], rectified.outs[0]
            assert whole is not None and out is not None
            view = View(whole, *layouts[out], 0)
            instead[pooled.gradients[1]] = [Operation(aten.as_strided.default, (whole,), {}, (out,), True, view)]
    return [each for place, one in enumerate(operations) for each in instead.get(place, [one])]


class _Call:
    """Who makes and who reads what."""

    def __init__(
        self,
        operations: Sequence[Operation],
        outputs: Sequence[Slot],
        bases: Mapping[Slot, Slot],
        layouts: Mapping[Slot, Layout],
    ) -> None:
        self._operations = operations
        self._bases = bases
        self._layouts = layouts
        self._given = {self._base(slot) for slot in outputs}
        self._made = {slot: place for place, one in enumerate(operations) for slot in one.outs if slot is not None}
        self._users: dict[Slot, list[int]] = defaultdict(list)
        for place, operation in enumerate(operations):
            for slot in operation.reads() if operation.view is None else ():
                self._users[self._base(slot)].append(place)

    def _base(self, slot: Slot) -> Slot:
        return self._bases.get(slot, slot)

    def _maker(self, slot: Any) -> Operation | None:
        return self._operations[self._made[slot]] if slot in self._made else None

    def offset(self, slot: Slot) -> int:
        """Where a tensor begins in the memory in which it lies."""
        maker = self._maker(slot)
        return maker.view.offset if maker is not None and maker.view is not None else 0

    def _covers(self, slot: Slot, layout: Layout) -> bool:
        """Whether a tensor is all of its base's memory, in this layout."""
        return self._layouts[slot] == layout and self.offset(slot) == 0

    def pooled(self, place: int) -> Pooled | None:
        """The pooling at this place and what goes with it, if it can come before its ReLU."""
        pool = self._operations[place]
        if pool.function is not aten.max_pool2d_with_indices.default:
            return None
        window, (values, indices) = pool.args[0], pool.outs
        rectified = self._base(window)
        relu = self._maker(rectified)
        if relu is None or relu.function is not aten.relu.default or {rectified, indices} & self._given:
            return None
        maker = self._maker(relu.args[0])
        # Views of the call's inputs are not known by their place in memory.
        known = maker is not None and (maker.view is not None or relu.args[0] not in self._bases)
        same = self._layouts[relu.args[0]] == self._layouts[rectified] and self.offset(window) == 0
        if not known or not same or values is None or indices is None:
            return None
        users = [user for user in self._users[rectified] if user != place]
        if not users and not self._users[indices]:
            return Pooled(self._made[rectified], place, None)
        gradients = self._gradients(window, users, self._users[indices])
        return None if gradients is None else Pooled(self._made[rectified], place, gradients)

    def _gradients(self, window: Slot, users: Sequence[int], of_indices: Sequence[int]) -> tuple[int, int] | None:
        if len(users) != 2 or list(of_indices) != [users[0]]:
            return None
        backward, rectified = (self._operations[user] for user in users)
        if (
            backward.function is not aten.max_pool2d_with_indices_backward.default
            or rectified.function is not aten.threshold_backward.default
            or rectified.args[2] != 0
        ):
            return None
        (whole,), (out,) = backward.outs, rectified.outs
        if whole is None or out is None or whole in self._given or self._users[whole] != [users[1]]:
            return None
        layout = self._layouts[out]
        matched = all(self._covers(slot, layout) for slot in (*rectified.args[:2], out))
        straight = backward.args[1] == window and self._layouts[whole] == self._layouts[window]
        return (users[0], users[1]) if matched and straight else None
