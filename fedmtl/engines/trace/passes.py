"""Passes over graphs: other operations with the same bits for less work.

ReLU and the maximum of a window commute,

    max ReLU(x) = ReLU(max x)                                                                               (1)

and so do their gradients: both orders pass all of it to the first of the largest numbers, or none where no number is
positive. After 2×2 pooling, a quarter of the numbers is left to rectify.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from fedmtl.engines.trace.graph import Node, Value, View

aten = torch.ops.aten

ShapeStride = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape and stride."""


class PooledRelu(NamedTuple):
    """A ReLU of which only the pooled numbers are used: indices into the list of nodes."""

    relu: int
    pool: int
    gradients: tuple[int, int] | None
    """Backward of the pooling and of the ReLU; None in a call without gradients."""


def pool_before_relu(
    nodes: Sequence[Node], outputs: Sequence[Value], bases: Mapping[Value, Value], layouts: Mapping[Value, ShapeStride]
) -> list[Node]:
    """Return the nodes with ReLU after pooling by (1) wherever possible; replaced nodes may be left over.

    Args:
        nodes: of a call; a call with changes in place is returned unchanged.
        outputs: of the call.
        bases: view -> the value whose memory it is in.
        layouts: of every value.
    """
    uses = _Uses(nodes, outputs, bases, layouts)
    if any(node.changed for node in nodes):
        return list(nodes)
    instead: dict[int, list[Node]] = {}
    number = 1 + max((value.number for value in layouts), default=-1)
    for place in range(len(nodes)):
        pooled = uses.pooled(place)
        if pooled is None:
            continue
        pool, (x,) = nodes[pooled.pool], nodes[pooled.relu].args
        raw, moved, gradient = (Value(number + k) for k in range(3))
        number += 3
        # x and ReLU(x) have the same layout, so that windows of one are windows of the other.
        view = View(bases.get(x, x), *layouts[pool.args[0]], uses.offset(x))
        values, indices = pool.outs
        instead[pooled.pool] = [
            Node(aten.as_strided.default, (x,), {}, (moved,), True, view),
            pool._replace(args=(moved, *pool.args[1:]), outs=(raw, indices)),
            Node(aten.relu.default, (raw,), {}, (values,), True),
        ]
        if pooled.gradients is not None:
            backward, rectified = (nodes[each] for each in pooled.gradients)
            masked = (backward.args[0], values, 0)
            instead[pooled.gradients[0]] = [
                Node(aten.threshold_backward.default, masked, {}, (gradient,), True),
                backward._replace(args=(gradient, moved, *backward.args[2:])),
            ]
            whole, out = backward.outs[0], rectified.outs[0]
            assert whole is not None and out is not None
            view = View(whole, *layouts[out], 0)
            instead[pooled.gradients[1]] = [Node(aten.as_strided.default, (whole,), {}, (out,), True, view)]
    return [each for place, one in enumerate(nodes) for each in instead.get(place, [one])]


class _Uses:
    """Makers and users of the values of a call."""

    def __init__(
        self,
        nodes: Sequence[Node],
        outputs: Sequence[Value],
        bases: Mapping[Value, Value],
        layouts: Mapping[Value, ShapeStride],
    ) -> None:
        self._nodes = nodes
        self._bases = bases
        self._layouts = layouts
        self._given = {self._base(value) for value in outputs}
        self._made = {value: place for place, one in enumerate(nodes) for value in one.outs if value is not None}
        self._users: dict[Value, list[int]] = defaultdict(list)
        for place, node in enumerate(nodes):
            for value in node.reads() if node.view is None else ():
                self._users[self._base(value)].append(place)

    def _base(self, value: Value) -> Value:
        return self._bases.get(value, value)

    def _maker(self, value: Any) -> Node | None:
        return self._nodes[self._made[value]] if value in self._made else None

    def offset(self, value: Value) -> int:
        """Return the offset of a value in its memory."""
        maker = self._maker(value)
        return maker.view.offset if maker is not None and maker.view is not None else 0

    def _covers(self, value: Value, layout: ShapeStride) -> bool:
        """Return True if a value covers all of its base's memory, in this layout."""
        return self._layouts[value] == layout and self.offset(value) == 0

    def pooled(self, place: int) -> PooledRelu | None:
        """Return the pooling at this index and its related nodes, if it can come before its ReLU."""
        pool = self._nodes[place]
        if pool.function is not aten.max_pool2d_with_indices.default:
            return None
        window, (values, indices) = pool.args[0], pool.outs
        rectified = self._base(window)
        relu = self._maker(rectified)
        if relu is None or relu.function is not aten.relu.default or {rectified, indices} & self._given:
            return None
        maker = self._maker(relu.args[0])
        # The offset of a view of an input is unknown.
        known = maker is not None and (maker.view is not None or relu.args[0] not in self._bases)
        same = self._layouts[relu.args[0]] == self._layouts[rectified] and self.offset(window) == 0
        if not known or not same or values is None or indices is None:
            return None
        users = [user for user in self._users[rectified] if user != place]
        if not users and not self._users[indices]:
            return PooledRelu(self._made[rectified], place, None)
        gradients = self._gradients(window, users, self._users[indices])
        return None if gradients is None else PooledRelu(self._made[rectified], place, gradients)

    def _gradients(self, window: Value, users: Sequence[int], of_indices: Sequence[int]) -> tuple[int, int] | None:
        if len(users) != 2 or list(of_indices) != [users[0]]:
            return None
        backward, rectified = (self._nodes[user] for user in users)
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
        matched = all(self._covers(value, layout) for value in (*rectified.args[:2], out))
        straight = backward.args[1] == window and self._layouts[whole] == self._layouts[window]
        return (users[0], users[1]) if matched and straight else None
