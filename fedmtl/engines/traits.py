"""Traits of an engine."""

from dataclasses import dataclass

from fedmtl.core.traits import known_traits


@known_traits
@dataclass(frozen=True)
class EngineTraits:
    """Capabilities of an engine. The default declares none."""

    bit_identical: bool = False
    """A client's result has the same bits whatever other clients run with it. Nodes then send each client's packet, so
    that results do not depend on the number of nodes; those of other engines send sums, where the algorithm can."""
