"""Models around models: the recipe inside, and the changes that those around it make to its trunk."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from torch import nn

from fedmtl.models.stems import Stems


@runtime_checkable
class Wrapper(Protocol):
    """A model with another one in its field ``model``, whose trunk it changes after it is made."""

    model: Any

    def change(self, trunk: nn.Module) -> None:
        """Change a trunk in place: its numbers, its layers, or which of its parameters are trained.

        Args:
            trunk: of the model inside; of a ``FromModule``, its module, or the submodule that ``trunk`` names.
        """
        ...


@runtime_checkable
class FromWeights(Protocol):
    """A model whose first numbers come from a file."""

    def weights_digest(self) -> str:
        """The SHA-256 of the file."""
        ...


@runtime_checkable
class OfHashedWords(Protocol):
    """A model whose inputs are words by the hash of ``data/tokens.py``."""

    @property
    def hashed_words(self) -> int:
        """The number of different tokens."""
        ...


def layers_of(model: Any) -> Iterator[Any]:
    """The model, and those inside it, from the outermost."""
    yield model
    while isinstance(model, Wrapper):
        model = model.model
        yield model


def recipe_of(model: Any) -> Any:
    """The innermost model."""
    return [*layers_of(model)][-1]


def change_trunk(model: Any, trunk: nn.Module) -> None:
    """Change the trunk of the innermost model as those around it do, from the inside out."""
    for one in [*layers_of(model)][::-1]:
        if isinstance(one, Wrapper):
            one.change(trunk)


def weights_digests(model: Any) -> list[str]:
    """The digests of the files that a model's first numbers come from."""
    found = []
    for one in layers_of(model):
        if isinstance(one, Stems):
            found += [digest for part in (*dict(one.stems).values(), one.body) for digest in weights_digests(part)]
        elif isinstance(one, FromWeights):
            found.append(one.weights_digest())
    return found


def hashed_words(model: Any) -> int:
    """The tokens of a model whose inputs are words by a hash; 0 for others."""
    return next((one.hashed_words for one in layers_of(model) if isinstance(one, OfHashedWords)), 0)
