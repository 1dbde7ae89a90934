"""State of a server for each client, by ``str(client)``: records received, and the order of clients."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from fedmtl.core.types import ClientId, Params, Upload

T = TypeVar("T")


def received(algorithm: Any, uploads: Iterable[tuple[ClientId, Upload]], record: str) -> dict[str, Params]:
    """Return a record of each upload, clients ascending.

    Raises:
        ValueError: no upload.
    """
    sent = {str(client): upload.payload[record] for client, upload in sorted(uploads, key=lambda pair: pair[0])}
    if not sent:
        raise ValueError(f"{type(algorithm).__name__} needs at least one client, got none.")
    return sent


def ascending(kept: Mapping[str, T]) -> dict[str, T]:
    """Return the same, clients ascending: 9 comes before 10."""
    return {client: kept[client] for client in sorted(kept, key=int)}
