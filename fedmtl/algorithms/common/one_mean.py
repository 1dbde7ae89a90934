"""Means that a wrapper takes of parts of uploads, for an algorithm whose server takes means of whole ones."""

from collections.abc import Iterable, Mapping
from typing import Any

from fedmtl.algorithms.base import Algorithm
from fedmtl.core.context import Context
from fedmtl.core.types import ClientId, Params, Upload
from fedmtl.core.uploads import Uploads, mean_upload

PREFIXES = {"model": "", "trunk": "trunk.", "heads": "head."}
"""Part of a model that travels -> how the names of its parameters begin."""


def sent_names(algorithm: Algorithm[Any, Any], names: Iterable[str]) -> list[str]:
    """Return those of some parameters of a model that such an algorithm sends."""
    sends = algorithm.traits.sends
    return [name for name in names if sends is not None and name.startswith(PREFIXES[sends.up])]


def check_averages(wrapper: Any, algorithm: Algorithm[Any, Any]) -> None:
    """Refuse an algorithm that does more with uploads than to take the mean of parameters that it broadcasts.

    Raises:
        ValueError: it names the algorithm.
    """
    traits = algorithm.traits
    sends = traits.sends
    plain = sends is not None and sends.up == sends.down and sends.up in PREFIXES
    extra = sends is None or sends.down_extra or sends.up_extra or traits.needs_every_upload
    more = traits.register_clients or traits.centralized or traits.mixture or traits.broadcast_lists_clients
    if not plain or extra or more or not (traits.mean_aggregated and traits.uniform_broadcast):
        raise ValueError(
            f"{type(wrapper).__name__} wraps algorithms that send a trunk, heads or a model to all clients, and take "
            f"the mean of what comes back, such as FedPer, FedAvg or FedRep, got algorithm={algorithm!r}."
        )


def aggregate_means(
    algorithm: Algorithm[Any, Any], server: Any, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context
) -> Any:
    """Return the server's next state from uploads that hold parts: of other parameters, what it broadcasts stands in.

    Raises:
        ValueError: no upload.
    """
    given = uploads if isinstance(uploads, Uploads) else list(uploads)
    ((record, now),) = algorithm.broadcast(server, 0, ctx).items()
    return of_mean(algorithm, server, record, {**now, **mean_upload(given, record)}, ctx)


def of_mean(
    algorithm: Algorithm[Any, Any], server: Any, record: str, mean: Mapping[str, Any] | Params, ctx: Context
) -> Any:
    """Return the server's next state where the mean of the uploads is known: the mean of one upload is that upload."""
    return algorithm.aggregate(server, [(0, Upload({record: dict(mean)}, 1.0))], ctx)
