"""Cosines between clients' updates: state of servers that compare them, and their diagnostics."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedmtl.core.types import ClientId
from fedmtl.weightings.common.surgery import gram

MOST = 2000
"""Largest number of clients whose cosines are kept: of more, the matrix would be larger than the models."""


def cosines(rows: Tensor) -> Tensor:
    """⟨Δ_k, Δ_l⟩ / (‖Δ_k‖ ‖Δ_l‖), [K, K] float32; 0 where a vector is 0."""
    products = gram(rows)
    norms = np.sqrt(np.diag(products))
    scale = np.outer(norms, norms)
    found = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    return torch.from_numpy(found.clip(-1, 1).astype(np.float32))


class Conflicts(NamedTuple):
    """Cosines of the last round."""

    clients: Tensor
    """All registered clients, ascending, [K] int64."""
    cosine: Tensor
    """Between their updates, [K, K]; 0 for absent clients, the diagonal included. [0, 0] beyond ``MOST``."""


def no_conflicts(clients: Sequence[ClientId]) -> Conflicts:
    """Return the state before the first round of these clients, ascending."""
    size = len(clients) if len(clients) <= MOST else 0
    return Conflicts(torch.tensor(clients, dtype=torch.int64), torch.zeros(size, size))


def observed(conflicts: Conflicts, clients: Sequence[ClientId], rows: Tensor) -> Conflicts:
    """Return the state after a round of these clients, ascending, with these updates."""
    cosine = torch.zeros_like(conflicts.cosine)
    if len(cosine):
        places = torch.searchsorted(conflicts.clients, torch.tensor(list(clients)))
        cosine[places[:, None], places] = cosines(rows)
    return conflicts._replace(cosine=cosine)


def cosine_diagnostics(conflicts: Conflicts) -> dict[str, Tensor]:
    """Return ``cosine``, between the updates of the last round, [K, K]; nothing beyond ``MOST`` clients."""
    return {"cosine": conflicts.cosine} if len(conflicts.cosine) else {}
