"""A trunk and heads as one module, and as a pure function of its parameters."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fedmtl.core.buffers import buffers, hand_back
from fedmtl.core.context import step_context
from fedmtl.core.input_forms import InputForm
from fedmtl.core.types import Params, TaskSet
from fedmtl.models.adapters import Adapters, held
from fedmtl.models.constants import Constants
from fedmtl.models.forward import buffer_names, forward, measuring, ties
from fedmtl.models.network import TaskNetwork
from fedmtl.models.stem_network import StemNetwork


class SplitModel(nn.Module):
    """A trunk and a head for each of some tasks: parameters ``trunk.…`` and ``head.<task>.…``."""

    def __init__(
        self,
        trunk: nn.Module,
        heads: Mapping[str, nn.Module],
        integer_inputs: bool = False,
        stateful: bool = False,
        network: TaskNetwork | StemNetwork | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.ModuleDict(heads)
        self.network = network
        """A user's module, which has the same parameters; trunk and heads then only hold them by their names. Or stems,
        a body and heads, which are the trunk's and the heads' own."""
        self.integer_inputs = integer_inputs
        """Inputs are int64, such as tokens; else they are float32."""
        self.stateful = stateful
        """True where training differs from measuring, by dropout or running statistics."""
        self.fixed: frozenset[str] = frozenset()
        """Parameters and buffers that the share map freezes."""
        self.adapters = Adapters()
        """Weights of the trunk that factors update; ``Outputs`` applies them, a call of this module does not."""
        self.roles: Mapping[str, str] = {}
        """Name -> "shared" or "private" by the share map; of the others, the algorithm decides."""

    def restricted(self, owned: TaskSet) -> "SplitModel":
        """Return the model with the heads of some tasks; it has the same parameters."""
        heads = {task: self.head[task] for task in owned}
        network = None if self.network is None else self.network.restricted(owned)
        trunk = network.trunk if isinstance(network, StemNetwork) else self.trunk
        found = SplitModel(trunk, heads, self.integer_inputs, self.stateful, network)
        found.adapters = self.adapters.restricted(found)
        return found

    @property
    def has_stems(self) -> bool:
        """True where a task's trunk has a part of its own, so that clients' trunks differ by their tasks."""
        return isinstance(self.network, StemNetwork)

    @property
    def forms(self) -> list[tuple[str, InputForm]]:
        """Names and forms of inputs that have stems of their own."""
        return sorted(self.network.forms.items()) if isinstance(self.network, StemNetwork) else []

    @property
    def integer_stems(self) -> frozenset[str]:
        """Inputs whose stems take int64, such as tokens."""
        return self.network.integer if isinstance(self.network, StemNetwork) else frozenset()

    def foreign(self, owned: TaskSet) -> tuple[str, ...]:
        """Return how names of parameters begin that are of heads, or of stems, of other tasks alone."""
        stems = self.network.foreign(owned) if isinstance(self.network, StemNetwork) else ()
        return (*(f"head.{task}." for task in self.head if task not in owned), *stems)

    @property
    def entry(self) -> nn.Module:
        """The part that takes the inputs."""
        return self.trunk if self.network is None else self.network

    def forward(self, x: Tensor, begin: Callable[..., None] = lambda *_: None) -> dict[str, Tensor]:
        if self.network is not None:
            return self.network(x, begin)
        begin("trunk")
        features = self.trunk(x)
        found: dict[str, Tensor] = {}
        for task, head in self.head.items():
            begin(f"head.{task}")
            found[task] = head(features)
        return found


def initial_params(module: SplitModel) -> dict[str, Tensor]:
    """Return the module's parameters and the buffers that training replaces, as detached copies."""
    known = dict(module.named_buffers())
    replaced = set(buffer_names(module)) - module.fixed if module.stateful else set[str]()
    own = {**dict(module.named_parameters()), **{name: known[name] for name in sorted(replaced)}}
    return {name: value.detach().clone() for name, value in own.items()}


class Outputs:
    """(parameters, x, mask) -> task -> what its head gives; in a training step, new buffers are handed back."""

    def __init__(self, module: SplitModel, owned: TaskSet) -> None:
        restricted = module.restricted(owned)
        self._stateful = module.stateful
        self._train: nn.Module = restricted if restricted.network is None else restricted.network
        self._places: Mapping[str, str] = {} if restricted.network is None else restricted.network.places
        self._adapters = restricted.adapters
        self._own = restricted
        self._constants = Constants(self._train)
        self._ties = ties(self._train)
        self._foreign: dict[str, torch.Size] = {}
        """Parameters of heads that run though the client does not own them: the module gives all outputs at once."""
        if restricted.network is not None and restricted.network.trunk is None:
            for name, value in initial_params(module).items():
                if name.startswith("head.") and name.split(".")[1] not in owned:
                    self._foreign[name] = value.shape

    @cached_property
    def _measure(self) -> nn.Module:
        """The module in evaluation mode: made when it is first asked for, as what only trains has no use for it."""
        return measuring(self._train)

    def __call__(self, params: Params, x: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        constants = self._constants.on(x.device)
        if self._adapters.weights:
            params = self._adapters.applied(params, partial(self._held, constants))
        given = self._by_place(params, x) if self._places else params
        if not self._stateful:
            return functional_call(self._train, {**constants, **given}, (x,), tie_weights=self._ties)
        ctx = step_context()
        module = self._measure if ctx is None else self._train
        found, new, _ = forward(module, given, x, ctx, mask, parts=True, constants=constants, tied=self._ties)
        if ctx is not None:
            hand_back({name: new[self._places.get(name, name)] for name in buffers(params)} if self._places else new)
        return found

    def _held(self, constants: Params, name: str) -> Tensor:
        """Return a number that the model holds, on the device of the constants."""
        place = self._places.get(name, name)
        return constants[place] if place in constants else held(self._own, name)

    def _by_place(self, params: Params, x: Tensor) -> dict[str, Tensor]:
        """Return parameters by their names in the network; those of heads that the client does not own are 0."""
        zeros = {
            name: torch.zeros(shape, device=x.device) for name, shape in self._foreign.items() if name not in params
        }
        return {self._places[name]: value for name, value in {**zeros, **params}.items() if name in self._places}
