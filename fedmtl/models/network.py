"""A user's module as a function from inputs to {task: output}."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn


class TaskNetwork(nn.Module):
    """A module that gives {task: output} itself, or features, from which a head for each task computes it."""

    def __init__(
        self,
        module: nn.Module,
        tasks: Sequence[str],
        trunk: str | None = None,
        heads: Mapping[str, str] | None = None,
        new: Mapping[str, nn.Module] | None = None,
    ) -> None:
        """
        Args:
            module: the user's.
            tasks: whose outputs are computed.
            trunk: the submodule that gives features; None where the module gives outputs.
            heads: task -> its submodule.
            new: task -> its head beside the module.
        """
        super().__init__()
        self.module = module
        self.new = nn.ModuleDict(new or {})
        self.tasks = tuple(tasks)
        self.trunk = trunk
        self.heads = dict(heads or {})
        self.places: dict[str, str] = {}
        """Name of a parameter or buffer, ``trunk.…`` or ``head.<task>.…`` -> its name here."""

    def forward(self, x: Tensor, begin: Callable[[str], None] = lambda _: None) -> dict[str, Tensor]:
        if self.trunk is None:
            begin("network")
            found = self.module(x)
            return {task: found[task] for task in self.tasks}
        begin("trunk")
        features = self.module.get_submodule(self.trunk)(x)
        outputs: dict[str, Tensor] = {}
        for task in self.tasks:
            begin(f"head.{task}")
            outputs[task] = self.head(task)(features)
        return outputs

    def head(self, task: str) -> nn.Module:
        """Return the head of a task, of a network that has features."""
        return self.new[task] if task in self.new else self.module.get_submodule(self.heads[task])

    def restricted(self, owned: Sequence[str]) -> "TaskNetwork":
        """Return the network of some of the tasks, with the same parameters; heads of others are not run."""
        new = {task: self.new[task] for task in owned if task in self.new}
        found = TaskNetwork(self.module, owned, self.trunk, self.heads, new)
        found.places = self.places
        return found

    def holders(self) -> tuple[nn.Module, dict[str, nn.Module]]:
        """Return a trunk and the heads that hold the network's parameters and buffers by their names."""
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        trunk, heads = nn.Module(), {task: nn.Module() for task in self.tasks}
        for name, place in self.places.items():
            part, _, rest = name.partition(".")
            node = trunk
            if part == "head":
                task, _, rest = rest.partition(".")
                node = heads[task]
            *way, last = rest.split(".")
            for piece in way:
                if piece not in node._modules:
                    node.add_module(piece, nn.Module())
                node = node.get_submodule(piece)
            node.training = self.get_submodule(place.rpartition(".")[0]).training
            if isinstance(value := own[place], nn.Parameter):
                node.register_parameter(last, value)
            else:
                node.register_buffer(last, value)
        return trunk, heads


class JoinedOutputs(nn.Module):
    """The outputs of all tasks side by side, [B, numbers], for checks of one tensor."""

    def __init__(self, network: TaskNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return join(self.network(x))


def join(outputs: Mapping[str, Tensor]) -> Tensor:
    """Return outputs side by side, [B, numbers]."""
    return torch.cat([output.reshape(len(output), -1) for output in outputs.values()], 1)
