"""The server's part of a chain of transforms: what it does to the sum of a round's uploads, such as noise on the mean.

Sums are all that it sees: it does not matter whether nodes have added up their clients' uploads.
"""

from typing import Any

from fedmtl.core.random import SERVER, rng
from fedmtl.core.uploads import Uploads, add
from fedmtl.protocol.plan import Plan


def with_server_part(plan: Plan, round: int, uploads: Uploads) -> Uploads:
    """Return the sums of a round's uploads after the server's part of ``up_codec``, which has one.

    Where clients of several sets of tasks send an array, its sum is over all of them, and what the server's part
    changes is added to one.
    """
    codec: Any = plan.up_codec
    sums = [*map(add, uploads.stacks), *uploads.summed]
    totals: list[dict[str, dict[str, Any]]] = [
        {record: dict(arrays) for record, arrays in part.totals.items()} for part in sums
    ]
    found = {(each, name) for part in totals for each, arrays in part.items() for name in arrays}
    if not found:
        return uploads
    draw = rng(plan.seed, round, SERVER, "up")
    for record, name in sorted(found):
        holding = [k for k, part in enumerate(totals) if name in part.get(record, {})]
        total = sum(totals[k][record][name] for k in holding)
        after = codec.on_sum(total, sum(sums[k].num_examples for k in holding), draw)
        first = totals[holding[0]][record]
        first[name] = after if len(holding) == 1 else first[name] + (after - total)
    return Uploads([], [part._replace(totals=own) for part, own in zip(sums, totals, strict=True)])
