"""A model's adapters, applied: parameters with the weights that a forward pass takes in place of their factors."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from fedmtl.core.adapters import MERGED, A, B
from fedmtl.core.types import Params


@dataclass(frozen=True)
class Adapters:
    """Weights that have adapters, and the s of ``fedmtl.core.adapters``."""

    weights: tuple[str, ...] = ()
    scale: float = 1.0

    def applied(self, params: Params, own: Callable[[str], Tensor]) -> dict[str, Tensor]:
        """Return the parameters with W + s (B A + M), in the shape of W, for each weight, in place of its factors.

        Args:
            params: of the model; factors that are not among them, such as frozen ones, are its own.
            own: name -> the number that the model holds: the frozen weights, and factors.
        """
        ends = [weight + end for weight in self.weights for end in (A, B, MERGED)]
        found = {name: value for name, value in params.items() if name not in ends}
        for weight in self.weights:
            a, b = (params[name] if (name := weight + end) in params else own(name) for end in (A, B))
            update = (self.scale * b) @ a
            if weight + MERGED in params:
                update = update + self.scale * params[weight + MERGED]
            base = own(weight)
            found[weight] = base + update.reshape(base.shape)
        return found

    def restricted(self, module: nn.Module) -> "Adapters":
        """Return those of the weights that a module has."""
        names = {name for name, _ in (*module.named_parameters(), *module.named_buffers())} if self.weights else ()
        return Adapters(tuple(weight for weight in self.weights if weight in names), self.scale)

    def removed(self, module: nn.Module) -> None:
        """Take the factors out of a module whose weights are updated."""
        ends = tuple(f"{weight.rpartition('.')[2]}{end}" for weight in self.weights for end in (A, B))
        for part in module.modules():
            for held in (part._parameters, part._buffers):
                for name in [name for name in held if name in ends]:
                    del held[name]


def held(module: nn.Module, name: str) -> Tensor:
    """Return a parameter or buffer by its name."""
    layer, _, last = name.rpartition(".")
    part = module.get_submodule(layer)
    found = part._parameters[last] if last in part._parameters else part._buffers[last]
    assert found is not None
    return found
