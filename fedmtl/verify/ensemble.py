"""Ensemble against Local, and its predictions against numpy.

A client's examples are (x_i, y_i) of three classes, and of yes or no; the models are linear: features are xθ, outputs
are features times a head. p is softmax, or the logistic function.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import expit, softmax
from torch import Tensor

from fedmtl.algorithms.base import first_server
from fedmtl.algorithms.local import Local
from fedmtl.core.types import Batch, Params
from fedmtl.tasks import Binary, MultiClass, Task
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, above, below, close, every, same_bits
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import Array, clients, play

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
KINDS: dict[str, Task] = {"kind": MultiClass(3), "flag": Binary()}
OWNERS: dict[int, tuple[str, ...]] = {0: ("kind",), 2: ("flag", "kind"), 5: ("flag",), 9: ("kind",)}


class Labelled(NamedTuple):
    """A client."""

    x: Array
    y: dict[str, Array]
    """Task -> labels, of the tasks that it owns."""

    def batches(self) -> list[dict[str, Tensor]]:
        labels = {f"y.{task}": torch.tensor(y) for task, y in self.y.items()}
        index = torch.arange(len(self.x))
        return [{"x": torch.tensor(self.x), "index": index, "mask": torch.ones(len(self.x)), **labels}]

    def loss(self, w: Params, batch: Batch) -> Tensor:
        out = {task: outputs(w, task, batch["x"]) for task in self.y}
        return torch.stack([KINDS[task].loss(out[task], batch[f"y.{task}"], batch["mask"]) for task in self.y]).mean()


def outputs(w: Params, task: str, x: Tensor) -> Tensor:
    return x @ w["trunk.w"] @ w[f"head.{task}.w"]


def problem(owners: Mapping[int, tuple[str, ...]], seed: int = 0, examples: int = 12) -> dict[int, Labelled]:
    """One linear rule for all, and a third of the labels drawn anew."""
    draw = np.random.default_rng(seed)
    rule, found = draw.standard_normal((4, 3)), {}
    for client, owned in owners.items():
        x = draw.standard_normal((examples, 4))
        z, noise = x @ rule, draw.random(examples) < 1 / 3
        kind = np.where(noise, draw.integers(0, 3, examples), z.argmax(1)).astype(float)
        y = {"kind": kind, "flag": np.where(noise, draw.integers(0, 2, examples), z[:, 0] > 0).astype(float)}
        found[client] = Labelled(x, {task: y[task] for task in owned})
    return found


def first(owned: Sequence[str]) -> dict[str, Tensor]:
    draw = np.random.default_rng(7)
    whole = {"trunk.w": (4, 2), "head.flag.w": (2, 1), "head.kind.w": (2, 3)}
    made = {name: torch.tensor(0.5 * draw.standard_normal(shape)) for name, shape in whole.items()}
    return {name: w for name, w in made.items() if name == "trunk.w" or name.split(".")[1] in owned}


def restricted(down: Any, owned: Sequence[str]) -> Any:
    """Without the heads that a client does not own, as it gets a broadcast."""
    foreign = {f"head.{task}.w" for task in KINDS if task not in owned}
    return {record: {name: w for name, w in params.items() if name not in foreign} for record, params in down.items()}


class EnsembleRun(NamedTuple):
    server: Any
    private: dict[int, Any]


def rounds(algorithm: Any, federation: Mapping[int, Labelled], cohorts: Sequence[Sequence[int]]) -> EnsembleRun:
    """Rounds of some clients each, uploads in the order in which the cohort names them."""
    owned = {client: tuple(one.y) for client, one in federation.items()}
    server = first_server(algorithm, first(tuple(KINDS)), {client: first(owned[client]) for client in federation}, CTX)
    private = {client: algorithm.init_client(first(owned[client]), len(one.x)) for client, one in federation.items()}
    for cohort in cohorts:
        sent = []
        for client in cohort:
            one, down = federation[client], restricted(algorithm.broadcast(server, client, CTX), owned[client])
            result = algorithm.local_update(one.loss, down, private[client], one.batches(), CTX)
            private[client] = result.private
            sent.append((client, result.upload))
        server = algorithm.aggregate(server, sent, CTX)
    return EnsembleRun(server, private)


def mixture(algorithm: Any, ended: EnsembleRun, client: int, owned: Sequence[str]) -> tuple[Any, Any]:
    return algorithm.mixture(restricted(algorithm.broadcast(ended.server, client, CTX), owned), ended.private[client])


def predicted(algorithm: Any, ended: EnsembleRun, client: int, owned: Sequence[str], task: str, x: Array) -> Array:
    """p of the mixture's output, by the library."""
    models, weights = mixture(algorithm, ended, client, owned)
    out = torch.stack([outputs(w, task, torch.tensor(x)) for w in models])
    return probabilities(task, KINDS[task].mixed(out, weights[task]).numpy())  # type: ignore[attr-defined]


def probabilities(task: str, z: Array) -> Array:
    """p in numpy: of each class, or of yes."""
    return softmax(z, axis=-1) if task == "kind" else expit(z)


def member(algorithm: Any, one: Labelled, rounds: int = 1) -> Params:
    """The model that Local trains on one client alone, by the same hyper-parameters."""
    local = Local(lr=algorithm.lr, epochs=algorithm.epochs)
    w: Params = local.init_client(first(tuple(one.y)), len(one.x))
    for _ in range(rounds):
        w = local.local_update(one.loss, {}, w, one.batches(), CTX).private
    return w


def numpy_probabilities(w: Params, task: str, x: Array) -> Array:
    return probabilities(task, x @ w["trunk.w"].numpy() @ w[f"head.{task}.w"].numpy())


def one_client_is_local(ensemble: Callable[..., Any]) -> CheckResult:
    """K = 1: what is learnt and what is sent is Local's, bit for bit, on a quadratic, after 3 rounds of 2 epochs of 2
    steps; the one member has weight 1 and these bits. Before a round, so has the client's own model."""
    (one,) = clients(1)
    algorithm = ensemble(lr=0.125, epochs=2)
    found = play(algorithm, [one], START, 3, steps=2)
    expected = play(Local(lr=0.125, epochs=2), [one], START, 3, steps=2).personal
    models, weights = algorithm.mixture(algorithm.broadcast(found.server, 0, CTX), found.private[0])
    untrained = first_server(algorithm, one.params(START), {0: one.params(START)}, CTX)
    _, before = algorithm.mixture(algorithm.broadcast(untrained, 0, CTX), one.params(START))
    return every(
        close(weights["t"], [1, 0], atol=0),
        close(before["t"], [0, 1], atol=0),
        same_bits(np.concatenate([models[0]["trunk.w"], models[0]["head.t.b"]]), expected[0]),
        same_bits(found.personal, expected),
    )


def two_models_by_hand(ensemble: Callable[..., Any]) -> CheckResult:
    """Members whose outputs are log (0.8, 0.1, 0.1) and log (0.2, 0.7, 0.1) + 5 predict 0.5, 0.4, 0.1 together; logits
    log 4 and −log 3 are 0.8 and 0.25, together 0.525. The third client never sent a model: it predicts the same."""
    said = {
        3: (np.log([0.8, 0.1, 0.1]), np.log(4)),
        5: (np.log([0.2, 0.7, 0.1]) + 5, -np.log(3)),
    }
    algorithm = ensemble()
    start = {"trunk.w": torch.ones(1, 1).double(), "head.kind.w": torch.zeros(1, 3).double()}
    start["head.flag.w"] = torch.zeros(1, 1).double()
    server = first_server(algorithm, start, dict.fromkeys((3, 5, 8), start), CTX)
    uploads = []
    for client, (kind, flag) in said.items():
        w = {**start, "head.kind.w": torch.tensor(kind)[None], "head.flag.w": torch.tensor([[flag]])}
        batch = {"x": torch.ones(1, 1).double(), "index": torch.zeros(1), "mask": torch.ones(1)}
        flat = algorithm.local_update(lambda w, _: 0 * sum(v.sum() for v in w.values()), {}, w, [batch], CTX)
        uploads.append((client, flat.upload))  # a loss that is flat leaves w as it is
    ended = EnsembleRun(algorithm.aggregate(server, uploads, CTX), dict.fromkeys((3, 5, 8), start))
    found = []
    for client in (3, 8):
        for task, expected in (("kind", [0.5, 0.4, 0.1]), ("flag", [0.525])):
            found.append(
                close(predicted(algorithm, ended, client, tuple(KINDS), task, np.ones((1, 1))), [expected], 1e-7)
            )
    return every(*found)


def predictions_are_means_of_locals(ensemble: Callable[..., Any]) -> CheckResult:
    """Four clients, 2 rounds of 3 epochs: p of each task is the mean, in numpy, of the p of Local's models of those
    that own the task."""
    federation = problem(OWNERS)
    algorithm = ensemble(lr=0.5, epochs=3)
    ended = rounds(algorithm, federation, [tuple(federation)] * 2)
    x, found = np.random.default_rng(1).standard_normal((20, 4)), []
    for client, one in federation.items():
        for task in one.y:
            members = [member(algorithm, other, 2) for other in federation.values() if task in other.y]
            expected = np.mean([numpy_probabilities(w, task, x) for w in members], axis=0)
            found.append(close(predicted(algorithm, ended, client, tuple(one.y), task, x), expected, atol=1e-6))
    return every(*found)


def it_is_never_worse_than_its_members_are_on_average(ensemble: Callable[..., Any]) -> CheckResult:
    """−log is convex: −log Σ_k p_k / K ≤ Σ_k −log p_k / K for every example (Jensen), so also for the mean of 200.

    Both in numpy, the right side from Local's models. Members that disagree leave a gap, here of more than 0.01.
    """
    found = []
    for seed in range(3):
        federation = problem(dict.fromkeys(range(5), ("kind",)), seed)
        test = problem({0: ("kind",)}, seed, examples=200)[0]
        algorithm = ensemble(lr=0.5, epochs=30)
        ended = rounds(algorithm, federation, [tuple(federation)])
        rows, label = np.arange(200), test.y["kind"].astype(int)
        together = predicted(algorithm, ended, 0, ("kind",), "kind", test.x)[rows, label]
        each = [numpy_probabilities(member(algorithm, one), "kind", test.x)[rows, label] for one in federation.values()]
        found += [
            above(float((np.mean(-np.log(each), 0) + np.log(together)).min()), -1e-6),
            below(float(-np.log(together).mean()), float(-np.log(each).mean()) - 0.01),
        ]
    return every(*found)


def a_client_without_an_upload_has_no_weight(ensemble: Callable[..., Any]) -> CheckResult:
    """Clients 0, 2, 5, 9, in a round of 9 and 2 and one of 2: the kind's weights are ½ for 2 and 9 of those 4 and of
    the client's own; the flag's are 1 for client 2. Where only 5 sent a model, with the flag alone, each client has its
    own model for the kind, and a new one, which has none, weighs all alike."""
    federation = problem(OWNERS)
    algorithm = ensemble(lr=0.5, epochs=1)
    some, late = rounds(algorithm, federation, [(9, 2), (2,)]), rounds(algorithm, federation, [(5,)])
    weights, alone = mixture(algorithm, some, 0, ("kind",))[1], mixture(algorithm, late, 0, ("kind",))[1]
    models = mixture(algorithm, some, 0, ("kind",))[0]
    downs = [algorithm.broadcast(one.server, 7, CTX) for one in (some, late)]
    new, lone = (algorithm.newcomer_weights(None, down, None, (), 1) for down in downs)
    return every(
        close(np.stack([new["kind"], new["flag"], lone["kind"]]), [[0, 0.5, 0, 0.5], [0, 1, 0, 0], [0.25] * 4], atol=0),
        close(weights["kind"], [0, 0.5, 0, 0.5, 0], atol=0),
        close(weights["flag"], [0, 1, 0, 0, 0], atol=0),
        close(alone["kind"], [0, 0, 0, 0, 1], atol=0),
        close(alone["flag"], [0, 0, 1, 0, 0], atol=0),
        same_bits(models[1]["trunk.w"], member(algorithm, federation[2], 2)["trunk.w"]),  # as last received
        same_bits(models[3]["trunk.w"], member(algorithm, federation[9])["trunk.w"]),
    )


def the_order_of_uploads_does_not_matter(ensemble: Callable[..., Any]) -> CheckResult:
    """Each upload has a place of its own: in reverse order the server has the same bits, row k being client k's."""
    federation = problem(dict.fromkeys((1, 4, 6), ("kind",)))
    algorithm = ensemble(lr=0.5, epochs=2)
    one, other = (rounds(algorithm, federation, [order]).server for order in ((1, 4, 6), (6, 1, 4)))
    parts = [same_bits(one.models[name], other.models[name]) for name in one.models]
    own = [member(algorithm, each)["trunk.w"].numpy() for each in federation.values()]
    return every(*parts, same_bits(one.models["trunk.w"], np.stack(own)))


CHECKS = (
    one_client_is_local,
    two_models_by_hand,
    predictions_are_means_of_locals,
    it_is_never_worse_than_its_members_are_on_average,
    a_client_without_an_upload_has_no_weight,
    the_order_of_uploads_does_not_matter,
)

GAIN = Claim(one_mean, steps())
