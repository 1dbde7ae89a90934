"""A trunk and heads as one module, and as a pure function of its parameters."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.func import functional_call

from fedmtl.core.buffers import hand_back
from fedmtl.core.context import step_context
from fedmtl.core.types import Params, TaskSet
from fedmtl.models.forward import buffer_names, forward, measuring


class SplitModel(nn.Module):
    """A trunk and a head for each of some tasks: parameters ``trunk.…`` and ``head.<task>.…``."""

    def __init__(
        self,
        trunk: nn.Module,
        heads: Mapping[str, nn.Module],
        integer_inputs: bool = False,
        stateful: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.ModuleDict(heads)
        self.integer_inputs = integer_inputs
        """Inputs are int64, such as tokens; else they are float32."""
        self.stateful = stateful
        """True where training differs from measuring, by dropout or running statistics."""
        self.fixed: frozenset[str] = frozenset()
        """Parameters and buffers that the share map freezes."""
        self.roles: Mapping[str, str] = {}
        """Name -> "shared" or "private" by the share map; of the others, the algorithm decides."""

    def forward(self, x: Tensor, begin: Callable[[str], None] = lambda _: None) -> dict[str, Tensor]:
        begin("trunk")
        features = self.trunk(x)
        found: dict[str, Tensor] = {}
        for task, head in self.head.items():
            begin(f"head.{task}")
            found[task] = head(features)
        return found


def initial_params(module: SplitModel) -> dict[str, Tensor]:
    """Return the module's parameters and the buffers that training replaces, as detached copies."""
    buffers = dict(module.named_buffers())
    replaced = set(buffer_names(module)) - module.fixed if module.stateful else set[str]()
    own = {**dict(module.named_parameters()), **{name: buffers[name] for name in sorted(replaced)}}
    return {name: value.detach().clone() for name, value in own.items()}


class Outputs:
    """(parameters, x, mask) -> task -> what its head gives; in a training step, new buffers are handed back."""

    def __init__(self, module: SplitModel, owned: TaskSet) -> None:
        heads = {task: module.head[task] for task in owned}
        self._train = SplitModel(module.trunk, heads, stateful=module.stateful)
        self._measure = measuring(self._train) if module.stateful else self._train

    def __call__(self, params: Params, x: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        if not self._train.stateful:
            return functional_call(self._train, dict(params), (x,))
        ctx = step_context()
        module = self._measure if ctx is None else self._train
        found, new, _ = forward(module, params, x, ctx, mask, parts=True)
        if ctx is not None:
            hand_back(new)
        return found
