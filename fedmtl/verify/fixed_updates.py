"""Clients whose updates are given beforehand, and rounds of nothing but those."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.base import first_server
from fedmtl.core.types import Upload
from fedmtl.verify.check import CTX
from fedmtl.verify.quadratic import Array, Quadratic

LR = 0.5
"""Learning rate of the clients of ``planted``, which make their updates in one step from 0."""


def planted(deltas: Any, counts: Sequence[int]) -> list[Quadratic]:
    """H = I and w* = 2Δ: one step from 0 with η = ½ is ½ · 2Δ. The first three numbers of Δ are the trunk's."""
    rows = np.asarray(deltas, np.float64)
    return [Quadratic(np.eye(len(row)), 2 * row, n) for row, n in zip(rows, counts, strict=True)]


def enrolled(algorithm: Any, clients: Sequence[int], params: Mapping[str, Tensor]) -> Any:
    """A server before its first round, all of whose clients own the same."""
    return first_server(algorithm, params, dict.fromkeys(clients, params), CTX)


def sent(
    algorithm: Any, server: Any, deltas: Mapping[int, Array], counts: Mapping[int, int]
) -> list[tuple[int, Upload]]:
    """Uploads of clients whose trunk changes by ``deltas``, whatever they received."""
    uploads = []
    for client, delta in deltas.items():
        ((record, params),) = algorithm.broadcast(server, client, CTX).items()
        trunk = params["trunk.w"] + torch.tensor(np.asarray(delta, np.float64))
        uploads.append((client, Upload({record: {**params, "trunk.w": trunk}}, counts[client])))
    return uploads


def cosine_matrix(rows: Any) -> Array:
    """cos of the angles between rows, [K, K]."""
    one = np.asarray(rows, np.float64)
    one = one / np.linalg.norm(one, axis=1, keepdims=True)
    return one @ one.T
