"""The interface of an augmentation."""

from typing import Protocol

from torch import Tensor

from fedmtl.augmentations.traits import AugmentationTraits
from fedmtl.core.context import Context


class Augmentation(Protocol):
    """A random change of inputs that leaves labels right. Implementations are frozen dataclasses.

    It is part of the client's step: under ``torch.vmap`` it sees one client's batch, and all randomness is drawn from
    ``ctx``, so a loop and a stack have the same bits. The first axis of a draw is that of the examples: then padding
    changes no draw of a real example.

    >>> from fedmtl.augmentations import RandomFlip
    >>> from fedmtl.core.context import context_of
    >>> import torch
    >>> RandomFlip(p=1.0).augment(torch.tensor([[[1.0, 2.0]]]), context_of())
    tensor([[[2., 1.]]])
    """

    @property
    def traits(self) -> AugmentationTraits:
        """An attribute of the class, or a property where it depends on fields."""
        ...

    def check(self, shape: tuple[int, ...], whole: bool) -> None:
        """Refuse inputs that it cannot change.

        Args:
            shape: of one example.
            whole: inputs are int64, such as tokens.

        Raises:
            ValueError: it begins with the augmentation, and names the way out.
        """
        ...

    def augment(self, x: Tensor, ctx: Context) -> Tensor:
        """Return inputs of the same shape and type.

        Args:
            x: inputs of a batch, [B, …], of which some rows may be padding.
            ctx: of the training step, and of this augmentation alone.
        """
        ...
