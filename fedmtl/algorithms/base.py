"""What an algorithm is, and the words and letters that its files use.

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

from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload

S = TypeVar("S")
P = TypeVar("P")


class Algorithm(Protocol[S, P]):
    """An algorithm of federated learning, written once, for one client.

    Implementations are frozen dataclasses of their hyper-parameters, final, without inheritance. States
    are trees (NamedTuples, dicts, lists) of tensors. Nothing is changed in place: state goes in and comes
    out. Six optional class attributes, False where they are absent:

    * ``central``: the clients' raw data goes to the server once, and ``local_update`` runs there.
    * ``additive``: ``aggregate`` looks at uploads through ``mean_upload`` alone, so that nodes of one machine may add
      up theirs before they hand them over.
    * ``separable_heads``: a head that is zero and has no labels changes nothing else. It is true of plain gradient
      steps, norms and proximal terms, not of a mean over all private numbers. Engines may then run clients of
      unlike tasks together, each with zero heads for the tasks that it does not own, which is faster.
    * ``one_broadcast``: ``broadcast`` says the same to everybody, so that it is asked once a round and not once a
      client.
    * ``needs_heads``: it finds a client's tasks in the names of its heads' parameters, so that each head must have one.
    * ``tells_all``: ``broadcast`` holds something of each enrolled client, so that its shapes depend on how many there
      are. Both sides then take them from all clients of the data.

    * ``counts_only``: ``enrol`` counts clients and keeps nothing of each, so that it takes any number of them.

    One more, "" where it is absent:

    * ``lossless``: why nothing of an upload may be lost for good, such as a sum that server and client each keep. It
      goes with codecs that are ``exact``, or ``late``, alone; an experiment with another is refused for this reason.

    And three optional methods, the first for servers that keep something of each client, by ``str(client)``:

    * ``enrol(server, owned)`` -> server: called once, before the first round, with every client of the federation,
      ascending, and its initial trunk and heads of its own tasks. The state keeps its structure from then on.
    * ``learnt(server)`` -> name -> vector [K] or matrix [K, K]: what it found out about the K clients, ascending, such
      as a similarity or a cluster. The run folder and the report show it.
    * ``mixture(down, private)`` -> (M models, their weights [M]): what a client predicts with instead of
      ``personal_params``, the weighted mean of M predictions, taken by ``mixed`` of each task. Weights sum to 1; they
      are one vector, or task name -> vector where tasks differ. ``personal_params`` is then what one would hand to a
      device that holds one model.
    """

    def init_server(self, params: Params) -> S:
        """The server's first state, from the initial parameters: the trunk and the heads of all tasks."""
        ...

    def init_client(self, params: Params, num_examples: int) -> P:
        """A client's first private state, from the initial trunk and the heads of its own tasks."""
        ...

    def broadcast(self, server: S, client: ClientId) -> Payload:
        """What the server says to a client. Heads of tasks that the client does not own are left out on the way."""
        ...

    def local_update(self, loss: LossFn, down: Payload, private: P, batches: Sequence[Batch]) -> LocalResult[P]:
        """The client's round: pure, with static control flow, so that engines can run it for a cohort at once.

        Args:
            loss: mean loss of a batch over the client's tasks.
            down: what ``broadcast`` said, after coding.
            private: the client's state.
            batches: one epoch. A batch whose mask is 0 throughout is padding and must change nothing.
        """
        ...

    def aggregate(self, server: S, uploads: Iterable[tuple[ClientId, Upload]]) -> S:
        """The server's round. Uploads come in client order; ``mean_upload`` takes their weighted mean all at once.

        A record of the upload that has the name, parameter names and shapes of a record of the broadcast
        travels as a difference when the codec is lossy; here it has been undone.

        Raises:
            ValueError: no upload.
        """
        ...

    def personal_params(self, down: Payload, private: P) -> Params:
        """What this client predicts with, unless there is a ``mixture``: a trunk and a head for each of its tasks."""
        ...


def first_server(algorithm: Algorithm[S, P], params: Params, owned: Mapping[ClientId, Params]) -> S:
    """The server's state before the first round.

    Args:
        algorithm: whose.
        params: the initial trunk and the heads of all tasks.
        owned: each client's initial trunk and the heads of its own tasks.
    """
    server = algorithm.init_server(params)
    enrol = getattr(algorithm, "enrol", None)
    return server if enrol is None else enrol(server, dict(sorted(owned.items())))


def scheduled(algorithm: Any) -> bool:
    """Whether batches must say which round it is: an optimiser of the algorithm, or of one that it wraps, looks at it.

    Both are found by their fields' names, ``optimizer`` and ``algorithm``.
    """
    inner = getattr(algorithm, "algorithm", None)
    own = getattr(getattr(algorithm, "optimizer", None), "scheduled", False)
    return own or (inner is not None and scheduled(inner))
