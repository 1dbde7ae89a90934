"""A stem for each input, of a task of its own or of several, before a part that all tasks share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from fedmtl.models.from_module import FromModule
from fedmtl.models.mlp import MLP

ANY = "*"
"""Names the stem of inputs that have none of their own."""


@dataclass(frozen=True)
class Stems:
    """Inputs of unlike shape: each has a stem to a common width, then all share a body, and tasks have heads.

        features = body(stem_i(x))       of an example x of input i                                          (1)

    ``Stems({"digit": "CNN(hidden=32)", "age": "MLP([32])"}, body="MLP([32])")`` takes images for the task ``digit``
    and a table for ``age``, as of ``from_arrays({"site": {"digit": (images, labels), "age": (table, labels)}})``.
    A stem is the trunk of a model, or a module that gives [B, width]; "*" is the stem of inputs that are not named,
    a module for each. Clients have, send and average the stems of their own tasks: ``trunk.stem.<input>.…``; the body
    is ``trunk.body.…``. Where all examples have one shape, each task has a stem of its own for it.

    Raises:
        ValueError: no stems; when the model is built, an input without a stem, a shape that does not fit its stem, or
            stems of unlike width.
    """

    stems: Any = field(default=((ANY, MLP()),), metadata={"component": ("model",), "mapping": True})
    """Input, such as its task's name, -> the model whose trunk is its stem; a mapping, kept as pairs."""
    body: Any = field(default=MLP(), metadata={"component": ("model",)})
    """The model whose trunk all tasks share, and whose heads they have."""

    def __post_init__(self) -> None:
        pairs = self.stems.items() if isinstance(self.stems, Mapping) else self.stems
        if not isinstance(self.stems, Mapping | tuple) or not self.stems:
            raise ValueError(
                f'Stems takes inputs and their models, such as {{"digit": CNN(), "age": MLP()}}, got {self.stems!r}.'
            )
        object.__setattr__(self, "stems", tuple((str(name), _model(model)) for name, model in pairs))
        object.__setattr__(self, "body", _model(self.body))

    def stem(self, name: str) -> Any:
        """Return the model of an input's stem; None where it has none."""
        models = dict(self.stems)
        return models.get(name, models.get(ANY))

    def head(self, features: Any, outputs: Any) -> nn.Module:
        """Return a head from features of the body to the outputs of a task."""
        return self.body.head(features, outputs)


def _model(given: Any) -> Any:
    return FromModule(given) if isinstance(given, nn.Module) else given
