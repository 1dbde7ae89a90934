"""Stems, a body and heads as a function from inputs to {task: output}."""

from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from fedmtl.core.input_forms import InputForms, from_rows, input_of, inputs_of, is_of, row_shape


class StemTrunk(nn.Module):
    """The shared part: a stem for each input, and a body."""

    def __init__(self, stems: Mapping[str, nn.Module], body: nn.Module) -> None:
        super().__init__()
        self.stem = nn.ModuleDict(stems)
        self.body = body


class StemNetwork(nn.Module):
    """Output of a task: head(body(stem of its input)).

    Rows of several inputs go through the body together, each by its own stem; BatchNorm and statistics of a stem, or of
    a head, are over rows of its input. Where rows have one shape and no names, each task's stem sees all of them.

    Args:
        trunk: stems and body.
        heads: task -> its head.
        forms: the inputs.
        integer: inputs whose stems take int64.
        rows: whether examples are rows as of ``to_rows``.
    """

    def __init__(
        self,
        trunk: StemTrunk,
        heads: Mapping[str, nn.Module],
        forms: InputForms,
        integer: frozenset[str],
        rows: bool,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.ModuleDict(heads)
        self.forms = forms
        self.integer = integer
        self.rows = rows
        self.places: Mapping[str, str] = {}
        """Parameters have their own names here."""

    def forward(self, x: Tensor, begin: Callable[..., None] = lambda *_: None) -> dict[str, Tensor]:
        return self._of_rows(x, begin) if self.rows else self._of_one_shape(x, begin)

    def _of_rows(self, rows: Tensor, begin: Callable[..., None]) -> dict[str, Tensor]:
        found: list[Tensor] = []
        own = {name: is_of(self.forms, name, rows) for name in self.trunk.stem}
        for name, stem in self.trunk.stem.items():
            begin(f"trunk.stem.{name}", own[name])
            features = stem(from_rows(self.forms[name], own[name], rows, name in self.integer))
            found.append(torch.where(own[name][:, None] > 0, features, 0.0))
        begin("trunk")
        shared = self.trunk.body(torch.stack(found).sum(0) if len(found) > 1 else found[0])
        outputs: dict[str, Tensor] = {}
        for task, head in self.head.items():
            begin(f"head.{task}", own[input_of(self.forms, task)])
            outputs[task] = head(shared)
        return outputs

    def _of_one_shape(self, x: Tensor, begin: Callable[..., None]) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}
        for task, head in self.head.items():
            begin(f"trunk.stem.{task}")
            features = self.trunk.stem[task](x if task in self.integer or x.is_floating_point() else x.float())
            begin("trunk")
            shared = self.trunk.body(features)
            begin(f"head.{task}")
            outputs[task] = head(shared)
        return outputs

    def restricted(self, owned: Sequence[str]) -> "StemNetwork":
        """Return the network of some of the tasks, with their stems, and the same parameters."""
        trunk = StemTrunk(
            {name: self.trunk.stem[name] for name in inputs_of(self.forms, tuple(owned))}, self.trunk.body
        )
        return StemNetwork(trunk, {task: self.head[task] for task in owned}, self.forms, self.integer, self.rows)

    def foreign(self, owned: Sequence[str]) -> tuple[str, ...]:
        """Return how names of parameters of stems begin that no task among these uses."""
        used = inputs_of(self.forms, tuple(owned))
        return tuple(f"trunk.stem.{name}." for name in self.trunk.stem if name not in used)


def random_rows(network: StemNetwork, size: int, vocabulary: int) -> Tensor:
    """Return random rows of the network's inputs in turn: normal numbers, or tokens below ``vocabulary``."""
    names, places = sorted(network.forms), [name for name in network.trunk.stem]
    rows = torch.zeros(size, *row_shape(network.forms))
    for row in range(size):
        name = places[row % len(places)]
        count = prod(network.forms[name].shape)
        whole = name in network.integer
        rows[row, 0] = names.index(name)
        rows[row, 1 : 1 + count] = torch.randint(0, vocabulary, (count,)).float() if whole else torch.randn(count)
    return rows
