"""Traits of an augmentation."""

from dataclasses import dataclass

from fedmtl.core.traits import known_traits


@known_traits
@dataclass(frozen=True)
class AugmentationTraits:
    """Capabilities of an augmentation. The default declares none."""

    moves: bool = False
    """Numbers of an example change places, so labels at places, such as a class for each pixel, would no longer fit."""
