"""An algorithm, a codec and a data set of your own in one file; ``own_method.toml`` beside it names them.

    fedmtl run simulations/own_method.toml

Copy both, keep what you need, and change it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl import ClientData, CodecTraits, Federation, FedPer, LocalResult, Regression, Split, Traits, Upload
from fedmtl.codecs.base import check_vector
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LossFn, Params, Payload


class Server(NamedTuple):
    trunk: Params
    momentum: Params


@dataclass(frozen=True)
class Momentum:
    """FedPer whose server goes on in the direction of the last rounds (FedAvgM: Hsu et al. 2019, arXiv:1909.06335).

        m     <- beta m + (mean of the clients' trunks - trunk)         (1)
        trunk <- trunk + m                                              (2)

    Down: trunk.  Up: the client's trunk.  Private: heads; and on the server m.
    """

    traits = Traits()

    lr: float = 0.05
    epochs: int = 5
    beta: float = 0.5

    def init_server(self, params: Params, ctx: Context) -> Server:
        trunk = self._clients.init_server(params, ctx)
        return Server(trunk, {name: value * 0 for name, value in trunk.items()})

    def broadcast(self, server: Server, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server.trunk}  # the momentum stays on the server: it costs nothing

    def aggregate(self, server: Server, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Server:
        mean = self._clients.aggregate(server.trunk, uploads, ctx)
        m = {name: self.beta * server.momentum[name] + mean[name] - server.trunk[name] for name in mean}  # (1)
        return Server({name: server.trunk[name] + m[name] for name in m}, m)  # (2)

    # What clients do is FedPer's.
    @property
    def _clients(self) -> FedPer:
        return FedPer(self.lr, self.epochs)

    def init_client(self, params: Params, num_examples: int) -> Params:
        return self._clients.init_client(params, num_examples)

    def local_update(
        self, loss: LossFn, down: Payload, private: Any, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        return self._clients.local_update(loss, down, private, batches, ctx)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return self._clients.personal_params(down, private)


@dataclass(frozen=True)
class Sign:
    """One bit a number and one scale: the sign times the mean magnitude. Bytes: 4 + ceil(n / 8). Biased."""

    traits = CodecTraits(delta_only=True)

    def init(self, size: int) -> None:
        return None

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        check_vector(self, x)
        return np.abs(x).mean().astype("<f4").tobytes() + np.packbits(x > 0).tobytes(), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        if len(data) != 4 + -(-size // 8):
            raise ValueError(f"{self!r} makes {4 + -(-size // 8)} bytes for {size} numbers, got {len(data)}.")
        scale = np.frombuffer(data, "<f4", 1)[0]
        signs = np.unpackbits(np.frombuffer(data, np.uint8, offset=4), count=size)
        return np.where(signs, scale, -scale).astype(np.float32)


@dataclass(frozen=True)
class Waves:
    """Each client predicts the next value of an oscillation of its own, from the eight values before it."""

    clients: int = 12
    samples: int = 60

    def load(self, seed: int) -> Federation:
        clients = {}
        for client in range(self.clients):
            draw = np.random.default_rng([seed, client])
            wave = np.sin(draw.uniform(0.3, 0.9) * np.arange(2 * self.samples + 8) + draw.uniform(0, 6))
            rows = np.lib.stride_tricks.sliding_window_view(wave + 0.1 * draw.standard_normal(len(wave)), 9)
            train, test = rows[: self.samples], rows[self.samples + 8 :]  # no value is in both
            clients[client] = ClientData(*(Split(part[:, :8], {"next": part[:, 8]}) for part in (train, test)))
        return Federation({"next": Regression(std=0.7)}, (8,), clients)
