"""GraphStructured: clients share by a structure that is known beforehand, groups, a graph, or both.

    Dinh, Vu, Tran, Dao, Zhang. FedU, 2021, Algorithm 1, for the edges. arXiv:2102.07148

    (θ_k, φ_k) <- (θ_k, φ_k) − η ∇ f_k(θ_k, φ_k)     epochs passes from (θ_k, φ_k)                         (1)
    θ_k        <- Σ n_l θ_l / Σ n_l                  over the l of the cohort in the group of k            (2)
    θ_k        <- θ_k − ρ Σ_l a_kl (θ_k − θ_l)       over the edges of k, all at once                      (3)
    θ_k        <- Σ n_l θ_l / Σ n_l                  over the cohort, for the blocks common to all         (4)

(2) is for all members of a group with a client in the cohort, (3) for the cohort, and (4) for all clients. With
groups and common blocks, the trunk is a tree: its root is all clients', a middle block the group's, the head the
client's.

Down: θ_k.  Up: θ_k.  Private: φ_k.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fedmtl.algorithms.common.checks import check_descent, check_strength
from fedmtl.algorithms.common.client_graph import parse_common, parse_edges, parse_groups, read
from fedmtl.algorithms.common.local_training import num_examples, sgd
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.core.context import Context
from fedmtl.core.trees import select, weighted_mean
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload
from fedmtl.optimizers import SGD, Optimizer

Trunks = Mapping[str, Params]
"""θ_k by ``str(client)``."""


@dataclass(frozen=True)
class GraphStructured:
    """Without groups, edges and common blocks it is Local; one group of all is FedPer."""

    traits = Traits(
        sends=Sends(down="trunk", up="trunk", private="heads", down_note="of its group"),
        technique="structured knowledge",
        independent_heads=True,
        equal_trunks=True,
        register_clients=True,
    )

    lr: float = 0.05
    """η."""
    epochs: int = 5
    strength: float = 0.1
    """ρ; times the largest Σ_l a_kl at most 1, so that trunks come nearer."""
    groups: tuple[str, ...] = ()
    """Clients with one trunk: "0 1 4". A client is in one group at most."""
    edges: tuple[str, ...] = ()
    """Clients that pull each other: "0-1", or "0-1:0.5" for a_01 = 0.5. Weights of an edge named twice add up."""
    common: tuple[str, ...] = ()
    """Beginnings of the names of the parameters that all clients share: "trunk.0."."""
    optimizer: Optimizer = SGD()
    """Client optimizer."""

    def __post_init__(self) -> None:
        check_descent(self, self.lr, self.epochs, self.optimizer)
        check_strength(self, strength=self.strength)
        degree: dict[str, float] = {}
        for k, _, weight in read(self, "edges", parse_edges):
            degree[k] = degree.get(k, 0.0) + weight
        if self.strength * max(degree.values(), default=0.0) > 1:
            raise ValueError(
                f"GraphStructured diverges with strength={self.strength!r} and edges={self.edges!r}; their product, at "
                "the client with the heaviest edges, is at most 1."
            )
        read(self, "groups", parse_groups)
        read(self, "common", parse_common)

    def init_server(self, params: Params, ctx: Context) -> Trunks:
        return {}

    def register_clients(self, server: Trunks, owned: Mapping[ClientId, Params]) -> Trunks:
        return {str(client): select(params, "trunk.") for client, params in owned.items()}

    def init_client(self, params: Params, num_examples: int) -> Params:
        return select(params, "head.")

    def broadcast(self, server: Trunks, client: ClientId, ctx: Context) -> Payload:
        return {"trunk": server[str(client)]}

    def local_update(
        self, loss: LossFn, down: Payload, private: Params, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[Params]:
        w = sgd(loss, {**down["trunk"], **private}, batches, self.lr, self.epochs, self.optimizer, ctx=ctx)  # (1)
        return LocalResult(select(w, "head."), Upload({"trunk": select(w, "trunk.")}, num_examples(batches)))

    def aggregate(self, server: Trunks, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Trunks:
        cohort = {str(client): upload for client, upload in sorted(uploads, key=lambda pair: pair[0])}
        sent = {k: (upload.payload["trunk"], upload.num_examples) for k, upload in cohort.items()}
        mean = weighted_mean(sent.values())
        groups, edges = parse_groups(self.groups), parse_edges(self.edges)
        unknown = {k for group in groups for k in group}.union(*(edge[:2] for edge in edges)) - server.keys()
        if unknown:
            raise ValueError(f"GraphStructured names clients that there are not: {sorted(unknown, key=int)}.")
        trunks = {**server, **{k: trunk for k, (trunk, _) in sent.items()}}
        for group in groups:
            members = [sent[k] for k in group if k in sent]
            if members:
                trunks |= dict.fromkeys(group, weighted_mean(members))  # (2)
        pulled = {k: dict(trunk) for k, trunk in trunks.items()}
        for k, other, weight in edges:
            if k in sent:
                for name, value in trunks[k].items():
                    pull = self.strength * weight * (value - trunks[other][name])
                    pulled[k][name] = pulled[k][name] - pull  # (3)
        shared = {name: value for prefix in self.common for name, value in select(mean, prefix).items()}
        return {k: {**trunk, **shared} for k, trunk in pulled.items()}  # (4)

    def personal_params(self, down: Payload, private: Params) -> Params:
        return {**down["trunk"], **private}
