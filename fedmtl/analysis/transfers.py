"""Bytes of a run, from the rows of its ledger."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from fedmtl.tables.schemas import TRAINING_PURPOSES as TRAINING


def sent_bytes(transfers: Iterable[Mapping[str, Any]], purposes: Sequence[str], direction: str | None) -> int:
    """Return the bytes of packets of some purposes in a direction, "down" or "up"; in both when None."""
    return sum(t["packet_bytes"] for t in transfers if t["purpose"] in purposes and direction in (None, t["direction"]))


def cost_by_round(
    transfers: Iterable[Mapping[str, Any]], rounds: Sequence[int], direction: str | None = None
) -> list[int]:
    """Return the training bytes up to and including each evaluated round, in a direction; in both when None."""
    by_round: dict[int, int] = {}
    for t in transfers:
        if t["purpose"] in TRAINING and direction in (None, t["direction"]):
            by_round[t["round"]] = by_round.get(t["round"], 0) + t["packet_bytes"]
    last = max([*by_round, *rounds], default=0)
    totals = list(accumulate(by_round.get(r, 0) for r in range(last + 1)))
    # The initial model is free, wherever the ledger puts what was sent before the first round.
    return [totals[r] if r > 0 else 0 for r in rounds]
