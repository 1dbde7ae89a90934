"""Traits of a client optimizer."""

from dataclasses import dataclass

from fedmtl.core.traits import known_traits


@known_traits
@dataclass(frozen=True)
class OptimizerTraits:
    """Capabilities of a client optimizer. The default declares none."""

    scheduled: bool = False
    """``direction`` reads the round. Batches then carry it; wrappers copy the trait of their inner optimizer."""
