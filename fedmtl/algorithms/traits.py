"""Traits of an algorithm: what the rest of fedmtl may rely on, declared once, by the class."""

from dataclasses import dataclass, field
from typing import Any, Literal

from fedmtl.core.traits import known_traits

ModelPart = Literal[
    "nothing", "trunk", "heads", "model", "norm layers", "all but norm layers", "raw data",
    "trunk but A", "trunk but B", "heads and A", "heads and B", "merged adapters",
]  # fmt: skip
"""Parameters of a model. Heads are those of the client's own tasks; a model is the trunk and these heads. A and B are
the factors of adapters, see ``fedmtl.core.adapters``; merged, they are updates of whole weights."""


def _method(*names: str) -> Any:
    """A trait, False by default, that declares optional methods."""
    return field(default=False, metadata={"methods": names})


@known_traits
@dataclass(frozen=True)
class Sends:
    """The parameters that travel, and those that stay. The contract test compares them with the payloads and states."""

    down: ModelPart
    """In a broadcast."""
    up: ModelPart
    """In an upload."""
    private: ModelPart
    """In a client's state."""
    down_extra: tuple[str, ...] = ()
    """Names in a broadcast that are no parameters; ``name.*`` is one for each task."""
    up_extra: tuple[str, ...] = ()
    """Names in an upload that are no parameters."""
    private_sent: bool = False
    """True where numbers of the private state are also in the upload."""
    down_note: str = ""
    """Words for tables, such as "of its cluster"."""
    up_note: str = ""
    private_note: str = ""


@known_traits
@dataclass(frozen=True)
class Traits:
    """Capabilities of an algorithm. The default declares none, which is always correct and may be slower.

    >>> Traits(uniform_broadcast=True).mean_aggregated
    False
    """

    sends: Sends | None = None
    """Parameters that travel and stay; the algorithms of fedmtl all declare them."""
    technique: str = ""
    """The technique of federated multi-task learning, for tables."""
    uniform_broadcast: bool = False
    """``broadcast`` returns the same payload for all clients, so it is called once a round and not once a client."""
    mean_aggregated: bool = False
    """``aggregate`` reads uploads through ``mean_upload`` alone, so nodes of one machine may sum theirs beforehand."""
    independent_heads: bool = False
    """A head of zeros without labels changes nothing else. It is true of gradient steps, norms and proximal terms, not
    of a mean over all private numbers. Engines may then train clients of different tasks together, each with zero heads
    for the tasks that it does not own, which is faster."""
    equal_trunks: bool = False
    """The server sets clients' trunks against each other number by number, so all of them need the same parameters."""
    named_heads: bool = False
    """Tasks are found by the names of their heads' parameters, so each head must have a parameter."""
    broadcast_lists_clients: bool = False
    """A broadcast holds numbers for each registered client, so its shapes depend on the number of clients."""
    centralized: bool = False
    """The clients' raw data goes to the server once, and ``local_update`` runs there."""
    needs_every_upload: str = ""
    """The reason why no part of an upload may be lost for good, such as a sum that server and client each keep; empty
    where it may. Codecs that are neither ``lossless`` nor ``error_compensated`` are then refused."""
    local_passes: int | None = None
    """Passes with gradients over a client's examples in a round; None: the sum of the fields of epochs."""
    passes_multiplier: str = ""
    """Field that multiplies these passes: steps on each batch, or models that are trained side by side."""
    register_clients: bool = _method("register_clients")
    """``register_clients(server, owned) -> server`` is called once, before the first round, with all clients of the
    federation, ascending, and the initial trunk and heads of each. The structure of the state is fixed from then on."""
    counts_clients_only: bool = False
    """``register_clients`` counts clients and keeps nothing of each, so there may be any number of them."""
    diagnostics: bool = _method("diagnostics")
    """``diagnostics(server) -> name -> vector [K] or matrix [K, K]``: estimates about the K clients, ascending, such as
    a similarity or a cluster, which the run folder and the report show."""
    mixture: bool = _method("mixture")
    """``mixture(down, private) -> (M models, their weights [M])``: a client predicts with the weighted mean of M
    predictions, taken by ``mixed`` of each task, and not with ``personal_params``. Weights sum to 1; they are one
    vector, or task name -> vector. ``personal_params`` is then for a device that holds one model."""
    several_models: bool = _method("sent_models", "newcomer_weights")
    """A broadcast holds M models of one shape. ``sent_models(down, private)`` gives them, with what the private state
    adds; ``newcomer_weights(loss, down, private, batches, steps)`` the weights, as of ``mixture``, that a client has
    which is new to a trained federation, from its labelled examples, with the models as they were sent. Without a
    ``mixture`` it begins with the model of the largest weight. See ``fedmtl onboard``."""
    by_round: bool = _method("of_round", "cycle")
    """``of_round(t) -> algorithm`` of round t, from 0, which has the same states and payloads of its own names and
    shapes; equal rounds are equal objects. After ``cycle`` rounds they come again. The algorithm itself is that of a
    round in which all travels."""
    by_width: bool = _method("of_widths", "widths", "units")
    """Clients' models have different ``widths``: of each layer that ``units`` match, the first part of its units.
    ``of_widths(algorithm, widths, shapes)`` is the server's algorithm; clients have the wrapped one."""
