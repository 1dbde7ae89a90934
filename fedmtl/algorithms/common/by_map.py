"""Any algorithm, with some parameters shared or private by the model's map instead of by the algorithm.

The algorithm does not see these parameters: a client trains them beside its own, in each descent of ``sgd``, and

    s   <- Σ n_k s_k / Σ n_k    on the server, of the shared ones, over the clients that have them      (1)
    s_g <- Σ n_k s_k / Σ n_k    of those of a group, over the clients of group g that have them         (2)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from fedmtl.algorithms.base import Algorithm, Prediction, Weights
from fedmtl.algorithms.common.companions import Companions, trained_beside
from fedmtl.algorithms.traits import Traits
from fedmtl.core.context import Context
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.core.uploads import Uploads, mean_upload, of_clients
from fedmtl.models.client_groups import ClientGroups

RECORD, GROUPED = RECORDS = ("mapped", "grouped")
"""Names of the records of shared parameters, and of those that a group shares."""


class MappedServer(NamedTuple):
    """State of the server."""

    inner: Any
    shared: Params
    """s."""
    grouped: Mapping[str, Params] = {}
    """s_g, by the place of the group."""


class MappedClient(NamedTuple):
    """Private state of a client."""

    inner: Any
    own: Params
    """Parameters that are private by the map."""


class MappedLoss:
    """A loss that takes the parameters of the map from ``own``."""

    def __init__(self, loss: Any, own: Companions) -> None:
        self._loss = loss
        self._own = own
        self.stateful: bool = loss.stateful

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self._loss({**self._own.params, **params}, batch)

    def each(self, params: Params, batch: Batch) -> Tensor:
        return self._loss.each({**self._own.params, **params}, batch)

    def examples(self, params: Params, batch: Batch) -> Tensor:
        return self._loss.examples({**self._own.params, **params}, batch)


@dataclass(frozen=True)
class ByMap:
    """Made by ``by_map``."""

    algorithm: Algorithm[Any, Any]
    shared: tuple[str, ...]
    private: tuple[str, ...]
    grouped: tuple[str, ...] = ()
    groups: ClientGroups | None = None

    @property
    def traits(self) -> Traits:
        inner = self.algorithm.traits
        heads = any(name.startswith("head.") for name in (*self.shared, *self.private, *self.grouped))
        return replace(
            inner,
            independent_heads=inner.independent_heads and not heads,
            uniform_broadcast=inner.uniform_broadcast and not self.grouped,
            mean_aggregated=inner.mean_aggregated and not self.grouped,
        )

    def _rest(self, params: Params) -> dict[str, Tensor]:
        own = {*self.shared, *self.private, *self.grouped}
        return {name: value for name, value in params.items() if name not in own}

    def _place(self, client: ClientId) -> str:
        """The key of a client's group in the server's state."""
        assert self.groups is not None
        return str(self.groups.names.index(self.groups.of[client]))

    @property
    def cycle(self) -> int:
        inner: Any = self.algorithm
        return inner.cycle

    def of_round(self, t: int) -> "ByMap":
        inner: Any = self.algorithm
        return replace(self, algorithm=inner.of_round(t))

    def init_server(self, params: Params, ctx: Context) -> MappedServer:
        shared = {name: params[name] for name in self.shared if name in params}
        grouped = {name: params[name] for name in self.grouped if name in params}
        first = {str(place): grouped for place in range(len(self.groups.names))} if self.groups else {}
        return MappedServer(self.algorithm.init_server(self._rest(params), ctx), shared, first)

    def register_clients(self, server: MappedServer, owned: Mapping[ClientId, Params]) -> MappedServer:
        inner: Any = self.algorithm
        rest = {client: self._rest(params) for client, params in owned.items()}
        return server._replace(inner=inner.register_clients(server.inner, rest))

    def init_client(self, params: Params, num_examples: int) -> MappedClient:
        own = {name: params[name] for name in self.private if name in params}
        return MappedClient(self.algorithm.init_client(self._rest(params), num_examples), own)

    def broadcast(self, server: MappedServer, client: ClientId, ctx: Context) -> Payload:
        grouped = server.grouped[self._place(client)] if self.grouped else {}
        return self._with(self.algorithm.broadcast(server.inner, client, ctx), server.shared, grouped)

    def _with(self, payload: Payload, shared: Params, grouped: Params) -> Payload:
        own = {RECORD: shared} if self.shared else {}
        return {**payload, **own, **({GROUPED: grouped} if self.grouped else {})}

    def local_update(
        self, loss: LossFn, down: Payload, private: MappedClient, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[MappedClient]:
        own = Companions(_beside(down, private))
        with trained_beside(own):
            found = self.algorithm.local_update(MappedLoss(loss, own), _without(down), private.inner, batches, ctx)
        sent = ({name: own.params[name] for name in down.get(record, {})} for record in RECORDS)
        payload = self._with(found.upload.payload, *sent)
        kept = {name: own.params[name] for name in private.own}
        return LocalResult(MappedClient(found.private, kept), found.upload._replace(payload=payload))

    def aggregate(self, server: MappedServer, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> MappedServer:
        given = uploads if isinstance(uploads, Uploads) else list(uploads)
        inner = self.algorithm.aggregate(server.inner, given, ctx)
        shared = {**server.shared, **mean_upload(given, RECORD)} if self.shared else {}  # (1)
        return MappedServer(inner, shared, self._means(server.grouped, given) if self.groups else {})

    def _means(self, grouped: Mapping[str, Params], given: Any) -> dict[str, Params]:
        """(2); a group without a client in the round keeps its parameters."""
        clients = given.clients.tolist() if isinstance(given, Uploads) else [client for client, _ in given]
        members: dict[str, list[ClientId]] = {}
        for client in clients:
            members.setdefault(self._place(client), []).append(client)
        means = {place: mean_upload(of_clients(given, own), GROUPED) for place, own in members.items()}
        return {place: {**params, **means.get(place, {})} for place, params in grouped.items()}

    def personal_params(self, down: Payload, private: MappedClient) -> Params:
        return {**self.algorithm.personal_params(_without(down), private.inner), **_beside(down, private)}

    def mixture(self, down: Payload, private: MappedClient) -> Prediction:
        inner: Any = self.algorithm
        models, weights = inner.mixture(_without(down), private.inner)
        return [{**model, **_beside(down, private)} for model in models], weights

    def sent_models(self, down: Payload, private: MappedClient) -> list[Params]:
        inner: Any = self.algorithm
        return [{**model, **_beside(down, private)} for model in inner.sent_models(_without(down), private.inner)]

    def newcomer_weights(
        self, loss: LossFn, down: Payload, private: MappedClient, batches: Sequence[Batch], steps: int
    ) -> Weights:
        inner: Any = self.algorithm
        mapped = MappedLoss(loss, Companions(_beside(down, private)))
        return inner.newcomer_weights(mapped, _without(down), private.inner, batches, steps)

    def diagnostics(self, server: MappedServer) -> Mapping[str, Tensor]:
        inner: Any = self.algorithm
        return inner.diagnostics(server.inner)


def _mapped(down: Payload) -> Params:
    return {name: value for record in RECORDS for name, value in down.get(record, {}).items()}


def _beside(down: Payload, private: MappedClient) -> Params:
    """Parameters of the client's model beside the algorithm's own."""
    return {**private.own, **_mapped(down)}


def _without(down: Payload) -> Payload:
    return {record: params for record, params in down.items() if record not in RECORDS}


def by_map(
    algorithm: Algorithm[Any, Any], roles: Mapping[str, str], params: Params, groups: ClientGroups | None = None
) -> Algorithm[Any, Any]:
    """Return the algorithm with the parameters whose role differs from the part that it gives them.

    Args:
        algorithm: which sends the parts that its trait ``sends`` declares; without one, all. Of one whose clients have
            models of different widths, the wrapped one, which clients have, is meant.
        roles: name -> "shared", "private" or "group".
        params: of the whole model.
        groups: of clients, where a role is "group".

    Raises:
        ValueError: an algorithm that trains on the server, or finds tasks by their heads, or has nothing left to share.
    """
    if algorithm.traits.by_width:
        sized: Any = algorithm
        algorithm = sized.algorithm
        if given := [name for name, role in roles.items() if role != "private"]:
            raise ValueError(
                f"{sized!r} takes means of what {algorithm!r} sends, and the model's map makes {given[0]} "
                f"{roles[given[0]]}; leave out that glob."
            )
    sends = "model" if algorithm.traits.sends is None else algorithm.traits.sends.up
    trunks = dict.fromkeys(("trunk", "trunk but A", "trunk but B"), ("trunk.",))
    prefixes = {"model": ("",), "heads": ("head.",), "nothing": (), **trunks}.get(sends, ("",))
    sent = {name for name in params if name.startswith(prefixes)}
    shared = tuple(sorted(name for name, role in roles.items() if role == "shared" and name not in sent))
    private = tuple(sorted(name for name, role in roles.items() if role == "private" and name in sent))
    grouped = tuple(sorted(name for name, role in roles.items() if role == "group"))
    taken = (*private, *grouped)
    if not shared and not taken:
        return algorithm
    if algorithm.traits.centralized:
        raise ValueError(
            f"{algorithm!r} trains on the server, which has no parameters of clients or groups; leave out {taken[0]!r}."
        )
    if algorithm.traits.named_heads and any(name.startswith("head.") for name in (*shared, *taken)):
        raise ValueError(
            f"{algorithm!r} finds tasks by their heads, so a share map is of the trunk alone there, got one of "
            f"{min((*shared, *taken))!r}."
        )
    if not shared and sent and sent <= set(taken):
        whose = "private" if not grouped else "private or of a group" if private else "of a group"
        rest = "makes its groups share" if grouped else "leaves nothing to share"
        raise ValueError(
            f"All that {algorithm!r} would send is {whose} by the model's map, which {rest}; take Local, or make some "
            "parameters shared."
        )
    return ByMap(algorithm, shared, private, grouped, groups)
