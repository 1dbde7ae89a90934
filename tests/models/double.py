"""Two engines beside each other in float64, so that what remains between them is no rounding."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.trees import tree_leaves, tree_map
from fedmtl.engines.base import Cohort, Engine, TaskPadding
from fedmtl.engines.traits import EngineTraits


@dataclass(frozen=True)
class BothInDouble:
    """Runs each cohort with both engines, on float64 copies of one state; it returns the first's results."""

    one: Engine
    other: Engine
    device: str = "cpu"
    traits = EngineTraits()
    apart: list[float] = field(default_factory=list, repr=False, compare=False)
    """Greatest difference of each array of results."""

    def on(self, device: str) -> "BothInDouble":
        assert device == self.device
        return self

    def map(self, cohorts: Sequence[Cohort], padding: TaskPadding | None = None) -> list[Any]:
        wide = [_widened(cohort) for cohort in cohorts]
        found = self.one.map(wide, padding)
        for result, beside in zip(found, self.other.map(wide, padding), strict=True):
            pairs = list(zip(tree_leaves(result), tree_leaves(beside), strict=True))
            assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
            self.apart.extend(float((a - b).abs().max()) for a, b in pairs if a.numel())
        return [_cast(result, torch.float32) for result in found]


def _widened(cohort: Cohort) -> Cohort:
    downs, private, context = _cast((tuple(cohort.downs), cohort.private, cohort.context), torch.float64)
    return cohort._replace(
        downs=downs,
        private=private,
        context=context,
        batches=lambda rows: [_cast(batch, torch.float64) for batch in cohort.batches(rows)],
        lazy_batches=None,
        output_buffers=None,
    )


def _cast(tree: Any, dtype: torch.dtype) -> Any:
    def leaf(value: Any) -> Tensor:
        tensor = torch.as_tensor(value)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return tree_map(leaf, tree)
