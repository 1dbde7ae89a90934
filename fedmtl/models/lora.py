"""LoRA: a frozen trunk that learns by small updates of its weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.adapters import A, B
from fedmtl.core.random import torch_seed
from fedmtl.core.suggest import did_you_mean
from fedmtl.models.adapters import Adapters
from fedmtl.models.forward import buffer_names
from fedmtl.models.from_module import FromModule
from fedmtl.models.mlp import MLP
from fedmtl.models.network import TaskNetwork
from fedmtl.models.share import ShareMap
from fedmtl.models.split_model import SplitModel


@dataclass(frozen=True)
class LoRA:
    """Any model with a frozen trunk, whose weights learn by adapters of low rank: these are the trunk that is shared.

    Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen. ICLR 2022. arXiv:2106.09685

        W' = W + (α / r) B A          W [out, in] frozen, A [r, in], B [out, r]        (1)

    A is drawn from ±1/√in, evenly, and B begins as 0, so the model begins as it was given. A convolution's weight [out,
    in, …] is the matrix [out, in · …]. All else of the trunk is frozen, too: biases, norms with their running
    statistics, embeddings; heads learn whole. Frozen numbers are held once a node, and neither sent nor stacked: a
    round's bytes are those of A and B, named ``trunk.1.weight_lora_A`` and ``trunk.1.weight_lora_B``.

    Algorithms that average factors (``FedPer``, ``FedAvg``) average B and A apart; ``FFALoRA``, ``FedSALoRA``,
    ``FlexLoRA`` and ``FLoRA`` aggregate them in the other ways of the literature.

    Raises:
        ValueError: no rank or alpha that can be; when the model is built, a glob that matches no matrix of the trunk,
            or a rank above a matrix's sizes.
    """

    model: Any = field(default=MLP(), metadata={"component": ("model",)})
    """Whose trunk is frozen; with its pre-trained weights, where it has some."""
    rank: int = 4
    """r."""
    targets: tuple[str, ...] = ()
    """Globs over names of weights, ``trunk.layers.*.qkv.weight``, or of layers, or their ends, such as ``qkv``; none:
    all weights of the trunk's layers that are matrices, but tables of embeddings."""
    alpha: float = 8.0
    """α."""

    def __post_init__(self) -> None:
        if isinstance(self.model, nn.Module):
            object.__setattr__(self, "model", FromModule(self.model))
        given: Any = self.targets
        globs = (given,) if isinstance(given, str) else given
        if not isinstance(globs, list | tuple) or not all(isinstance(glob, str) and glob for glob in globs):
            raise ValueError(f'LoRA: targets are globs over names of weights, such as ("*.qkv",), got {given!r}.')
        object.__setattr__(self, "targets", tuple(globs))
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1:
            raise ValueError(f"LoRA: rank is a whole number, at least 1, got rank={self.rank!r}.")
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, int | float) or not 0 < self.alpha < math.inf:
            raise ValueError(f"LoRA: alpha is a positive, finite number, got alpha={self.alpha!r}.")
        if isinstance(self.model, type | LoRA | ShareMap):
            raise ValueError(
                f"LoRA wraps a model such as TransformerEncoder(), or an nn.Module, got model={self.model!r}; a share "
                "map goes around it, as in ShareMap(LoRA(…), …)."
            )

    def change(self, trunk: nn.Module) -> None:
        """Nothing: adapters are given to the whole model."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return self.model.trunk(input_shape)

    def head(self, features: Any, outputs: Any) -> nn.Module:
        return self.model.head(features, outputs)

    def chosen(self, weights: Mapping[str, Tensor], tables: set[int]) -> list[str]:
        """Return the names of the weights that get adapters.

        Args:
            weights: name -> parameter of the trunk.
            tables: ids of those that are tables of embeddings.

        Raises:
            ValueError: a glob that matches no matrix, or none at all, or a rank above a matrix's sizes.
        """
        matrices = [name for name, value in weights.items() if value.ndim > 1]
        for glob in self.targets:
            matched = [name for name in weights if _matches(name, glob)]
            if not matched:
                layers = [name.rpartition(".")[0] for name in matrices]
                raise ValueError(
                    f"{self!r}: the target {glob!r} matches no weight of the trunk; its matrices are "
                    f"{', '.join(matrices[:12]) or 'none'}{', …' if len(matrices) > 12 else ''}."
                    f"{did_you_mean(glob, [*matrices, *layers])}"
                )
            if not set(matched) & set(matrices):
                raise ValueError(
                    f"{self!r}: the target {glob!r} matches {matched[0]}, of shape {tuple(weights[matched[0]].shape)}, "
                    "which is no matrix; adapters are of weights with two or more dimensions, so name one of "
                    f"{', '.join(matrices[:12]) or 'none'}."
                )
        if self.targets:
            found = [name for name in matrices if any(_matches(name, glob) for glob in self.targets)]
        else:
            found = [name for name in matrices if _is_layer(name, weights) and id(weights[name]) not in tables]
        if not found:
            raise ValueError(
                f"{self!r}: the trunk has no layer whose weight is a matrix, so there is nothing to adapt; name "
                "weights in targets, or take the model without LoRA."
            )
        for name in found:
            out, inputs = _sizes(weights[name])
            if self.rank > min(out, inputs):
                raise ValueError(
                    f"{self!r}: rank={self.rank} is above the sizes of {name}, {out} × {inputs}; take a rank of at "
                    f"most {min(out, inputs)}, or targets without it."
                )
        return found


def adapt(model: LoRA, module: SplitModel, seed: int) -> None:
    """Freeze the trunk of a split model, with its running statistics, and give it adapters drawn from ``seed``."""
    trunk = {name: value for name, value in module.named_parameters() if name.startswith("trunk.")}
    embeddings = [part for part in module.modules() if isinstance(part, nn.Embedding | nn.EmbeddingBag)]
    weights = model.chosen(
        {name: value for name, value in trunk.items() if value.is_floating_point()},
        {id(part.weight) for part in embeddings},
    )
    for value in trunk.values():
        value.requires_grad_(False)
    module.fixed = frozenset(name for name in buffer_names(module) if name.startswith("trunk."))
    module.adapters = Adapters(tuple(weights), model.alpha / model.rank)
    for weight in weights:
        out, inputs = _sizes(trunk[weight])
        with torch_seed(seed, f"lora.{weight}"):
            a = torch.empty(model.rank, inputs).uniform_(-(inputs**-0.5), inputs**-0.5)
        for end, value in ((A, nn.Parameter(a)), (B, nn.Parameter(torch.zeros(out, model.rank)))):
            _register(module, weight + end, value)
            if isinstance(module.network, TaskNetwork):  # which has the same numbers under the module's own names
                module.network.places[weight + end] = module.network.places[weight] + end
                _register(module.network, module.network.places[weight + end], value)


def _register(module: nn.Module, name: str, value: nn.Parameter) -> None:
    layer, _, last = name.rpartition(".")
    module.get_submodule(layer).register_parameter(last, value)


def _sizes(weight: Tensor) -> tuple[int, int]:
    """Return the sizes of a weight as a matrix, [out, in · …]."""
    return weight.shape[0], weight.shape[1:].numel()


def _matches(name: str, glob: str) -> bool:
    """Return True where a glob matches the name of a weight or of its layer, or an end of one of them."""
    paths = (name, name.rpartition(".")[0])
    return any(fnmatchcase(path, each) for path in paths for each in (glob, f"*.{glob}"))


def _is_layer(name: str, weights: Mapping[str, Tensor]) -> bool:
    """Return True for the weight of a linear layer, a convolution or a recurrence, and not of a norm."""
    layer, _, last = name.rpartition(".")
    bias = weights.get(f"{layer}.bias")
    return "weight" in last and (bias is None or bias.shape != weights[name].shape)
