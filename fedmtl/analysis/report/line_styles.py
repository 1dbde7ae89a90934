"""Line styles of the pictures: colour and marker for the algorithm, dashes and fill for codec and settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any, Literal

from fedmtl.analysis.groups import Group

NEUTRAL = {"Local": ("#555555", "|"), "Pooled": ("#999999", "x")}
"""The floor and the ceiling, which are no federated learning, are grey in all reports."""

# Okabe and Ito's palette, made for all kinds of colour vision; without its black, and with a yellow that white paper
# can show.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A800")
MARKERS = "osD^vP*Xph<>"
DASHES: tuple[Any, ...] = ("-", (0, (2.2, 1)), (0, (1, 1)), (0, (6, 1.5)), (0, (4, 1, 1, 1)), (0, (4, 1, 1, 1, 1, 1)))
Fill = Literal["full", "none", "left", "bottom", "right", "top"]
FILLS: tuple[Fill, ...] = ("full", "none", "left", "bottom", "right", "top")

OWN = ("FedAvg", "FedPer", "FedRep", "Ditto", "MRMTL", "FedProx", "FedBABU")
"""Algorithms that have the same colour and marker in all reports; the others take what these leave, by name."""

_INKS = [(PALETTE[i % 7], MARKERS[(i + turn) % 12]) for turn, i in product(range(12), range(7))]


@dataclass(frozen=True)
class LineStyle:
    """Line style of a group, in matplotlib's words."""

    color: str
    marker: str
    dashes: Any
    fill: Fill


def line_styles(groups: Sequence[Group]) -> dict[str, LineStyle]:
    """Group name -> its style. No two groups share one up to 84 algorithms and 6 codecs or settings."""
    algorithms = sorted({group.algorithm for group in groups} - NEUTRAL.keys())
    inks = {name: _INKS[OWN.index(name)] for name in algorithms if name in OWN}
    free = cycle(ink for ink in _INKS if ink not in inks.values())
    inks |= {name: next(free) for name in algorithms if name not in OWN} | NEUTRAL
    others = sorted({_other(group) for group in groups} | {""})  # "", nothing but the algorithm, is the first
    lines = dict(zip(others, cycle(zip(DASHES, FILLS, strict=True)), strict=False))
    return {group.name: LineStyle(*inks[group.algorithm], *lines[_other(group)]) for group in groups}


def _other(group: Group) -> str:
    return group.automatic.removeprefix(group.algorithm)
