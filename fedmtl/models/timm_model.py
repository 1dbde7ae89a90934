"""Image models of timm by name."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from fedmtl.core.bounds import check_text
from fedmtl.models.heads import linear_head
from fedmtl.models.images import image_sides
from fedmtl.models.optional_package import optional_package


@dataclass(frozen=True)
class Timm:
    """For images [C, H, W]: a model of timm (https://github.com/huggingface/pytorch-image-models), and its features.

    Without ``pretrained``, weights are drawn under the experiment's seed, and nothing is fetched; those of a file go in
    by ``Pretrained(Timm("resnet18"), "resnet18.safetensors", skip=("fc.*",))``. It needs the extra ``timm``.

    Raises:
        ValueError: when it is built, a name that timm does not know, or images that the model cannot take.
        ImportError: when it is built, timm is missing.
    """

    architecture: str = "resnet18"
    """The model's name in timm; ``timm.list_models()`` has them."""
    pretrained: bool = False
    """True: its weights come from the hub, over the network where they are not in the hub's cache."""

    def __post_init__(self) -> None:
        check_text("Timm: architecture", self.architecture)
        if not self.architecture:
            raise ValueError('Timm takes the name of a model, such as "resnet18", got an empty one.')

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        image_sides("Timm", input_shape)
        timm = optional_package("Timm", "timm", "timm")
        return timm.create_model(self.architecture, pretrained=self.pretrained, in_chans=input_shape[0], num_classes=0)

    def head(self, features: Any, outputs: Any) -> nn.Module:
        return linear_head(self, features, outputs)
