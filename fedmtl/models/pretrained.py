"""A model whose trunk starts from a file of weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from fedmtl.core.bounds import shown
from fedmtl.models.base import Model
from fedmtl.models.from_module import FromModule
from fedmtl.models.load_weights import freeze, load_weights
from fedmtl.models.mlp import MLP
from fedmtl.models.weights_file import digest_of, read_weights


@dataclass(frozen=True)
class Pretrained:
    """A model whose trunk has the numbers of a file: safetensors, or a state-dict that ``torch.save`` wrote.

    Names in the file are those of the trunk, such as ``embed.weight``; of a ``FromModule``, those of its module, or of
    the submodule that ``trunk`` names. ``rename`` maps their beginnings, and an empty one is added to or taken off all:

        Pretrained("BagOfEmbeddings(4096)", "encoder.safetensors", rename={"encoder.": ""}, freeze=("embed.*",))

    A run's ``model.safetensors`` gives its trunk without further words. Tensors are read, and nothing is unpickled. On
    devices each node reads the file from its own disk, and refuses a server whose file is another one.

    Raises:
        ValueError: fields of another form; when the model is built, a file of another model, or a glob without a match.
        OSError: when it is built, no such file.
    """

    model: Model = field(default=MLP(), metadata={"component": ("model",)})
    weights: str = ""
    """The file, seen from the folder that the command runs in."""
    rename: Any = field(default=(), metadata={"plain": True})
    """Beginning of names in the file -> what stands for it in the trunk: a mapping, or lines "old=new"."""
    skip: tuple[str, ...] = ()
    """Globs over names in the file that are left out, such as "fc.*"; after ``rename``."""
    fresh: tuple[str, ...] = ()
    """Globs over the trunk's names that the file lacks: they are drawn, as without a file."""
    freeze: tuple[str, ...] = ()
    """Globs over the trunk's names that stay as they are: held once a node, never sent; "*" for all of it."""
    sha256: str = ""
    """Checksum of the file's bytes, by which another file is refused; empty: any."""

    def __post_init__(self) -> None:
        if isinstance(self.model, nn.Module):
            object.__setattr__(self, "model", FromModule(self.model))
        if not isinstance(self.weights, str) or not self.weights:
            raise ValueError(
                "Pretrained takes the path of a file, safetensors or a state-dict, such as "
                f'weights="encoder.safetensors", got {shown(self.weights)}.'
            )
        given: Any = self.rename
        lines = [f"{old}={new}" for old, new in given.items()] if isinstance(given, Mapping) else given
        good = isinstance(lines, (list, tuple)) and all(isinstance(one, str) and one.count("=") == 1 for one in lines)
        if not good:
            raise ValueError(f'Pretrained: rename maps beginnings of names, {{"encoder.": ""}}, got {shown(given)}.')
        object.__setattr__(self, "rename", tuple(lines))
        for name in ("skip", "fresh", "freeze"):
            globs = getattr(self, name)
            if not isinstance(globs, (list, tuple)) or not all(isinstance(glob, str) and glob for glob in globs):
                raise ValueError(f'Pretrained: {name} is a list of globs over names, ("fc.*",), got {shown(globs)}.')
            object.__setattr__(self, name, tuple(globs))

    def fingerprint(self) -> Any:
        """Return the content for comparisons: the file's, wherever it lies."""
        return self.model, self.weights_digest(), self.rename, self.skip, self.fresh, self.freeze

    def weights_digest(self) -> str:
        return digest_of(self.weights)

    def change(self, trunk: nn.Module) -> None:
        what = f"{self!r}"
        rename = [(old, new) for old, _, new in (line.partition("=") for line in self.rename)]
        load_weights(what, trunk, read_weights(self.weights, self.sha256), rename, self.skip, self.fresh)
        freeze(what, trunk, self.freeze)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        trunk = self.model.trunk(input_shape)
        self.change(trunk)
        return trunk

    def head(self, features: Any, outputs: Any) -> nn.Module:
        return self.model.head(features, outputs)
