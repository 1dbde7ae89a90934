"""The protocol of algorithms, and the words and letters of their files.

θ    trunk: the shared parameters, named ``trunk.…``
φ_k  head of client k: its private parameters, named ``head.<task>.…``
w    (θ, φ), the whole model
n_k  number of training examples of client k; p_k = n_k / Σ n over the cohort
η    learning rate, ``lr``

A *delta* is new minus old (local minus received); a pseudo-gradient is its negative. *Epochs* are
passes over a client's data, a *step* is one batch, a *round* is one exchange with the server.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

from fedmtl.algorithms.traits import Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload

S = TypeVar("S")
P = TypeVar("P")

Weights = Mapping[str, Tensor] | Tensor
"""Weights of M models, [M]: one vector, or task -> vector."""

Prediction = tuple[Sequence[Params], Weights]
"""M models and their weights [M], one vector or a vector for each task, as ``mixture`` returns them."""


class Algorithm(Protocol[S, P]):
    """An algorithm of federated learning, written once, for one client.

    Implementations are frozen dataclasses of their hyper-parameters, final, without inheritance. States
    are trees (NamedTuples, dicts, lists) of tensors. Nothing is changed in place: state goes in and comes
    out.

    ``traits`` declares what the rest of fedmtl may rely on, and which optional methods there are, such as
    ``register_clients``, ``diagnostics`` and ``mixture``, see ``Traits``. Wrappers derive theirs from the algorithm
    that they wrap, with ``dataclasses.replace``.
    """

    @property
    def traits(self) -> Traits:
        """A class attribute, ``traits = Traits(…)``, or a property where it depends on fields."""
        ...

    def init_server(self, params: Params, ctx: Context) -> S:
        """The server's first state, from the initial parameters: the trunk and the heads of all tasks."""
        ...

    def init_client(self, params: Params, num_examples: int) -> P:
        """A client's first private state, from the initial trunk and the heads of its own tasks."""
        ...

    def broadcast(self, server: S, client: ClientId, ctx: Context) -> Payload:
        """Return the payload for a client. Heads of tasks that the client does not own are left out on the way."""
        ...

    def local_update(
        self, loss: LossFn, down: Payload, private: P, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[P]:
        """The client's round: pure, with static control flow, so that engines can run it for a cohort at once.

        Args:
            loss: mean loss of a batch over the client's tasks.
            down: payload of ``broadcast``, after coding.
            private: the client's state.
            batches: one epoch. A batch whose mask is 0 throughout is padding and must change nothing.
        """
        ...

    def aggregate(self, server: S, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> S:
        """The server's round. Uploads come in client order; ``mean_upload`` takes their weighted mean all at once.

        A record of the upload that has the name, parameter names and shapes of a record of the broadcast
        travels as a difference when the codec is lossy; here it has been undone.

        Raises:
            ValueError: no upload.
        """
        ...

    def personal_params(self, down: Payload, private: P) -> Params:
        """Return a trunk, and a head for each task, that the client predicts with unless there is a ``mixture``."""
        ...


def first_server(algorithm: Algorithm[S, P], params: Params, owned: Mapping[ClientId, Params], ctx: Context) -> S:
    """The server's state before the first round.

    Args:
        algorithm: whose.
        params: the initial trunk and the heads of all tasks.
        owned: each client's initial trunk and the heads of its own tasks.
        ctx: of the server.
    """
    server = algorithm.init_server(params, ctx)
    registering: Any = algorithm
    if algorithm.traits.register_clients:
        return registering.register_clients(server, dict(sorted(owned.items())))
    return server
