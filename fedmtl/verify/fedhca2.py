"""FedHCA2 against hand-worked rounds, and its learnt weights against autograd."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from fedmtl.algorithms.base import first_server
from fedmtl.algorithms.local import Local
from fedmtl.core.types import Upload
from fedmtl.verify.beats_local import Claim, steps
from fedmtl.verify.check import CTX, CheckResult, close, every, same_bits
from fedmtl.verify.fixed_updates import LR, enrolled, planted
from fedmtl.verify.planted import one_mean
from fedmtl.verify.quadratic import Array, clients, play, vector

START = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
FIRST = {0: np.array([1.0, 0, 0, 1, 0]), 1: np.array([0.0, 2, 0, 0, 1])}
"""Changes of two clients in which the trunk's are (1, 0, 0) and (0, 2, 0), the head's (1, 0) and (0, 1)."""
SECOND = {0: np.array([0.0, 2, 0, 0, 1]), 1: np.array([1.0, 0, 0, -1, 0])}
"""Trunks as before, the other way about; heads (0, 1) and (−1, 0)."""
PULL = np.array([0.5 + 0.4 * np.sqrt(1.25), 1, 0])
"""U of either, c = 0.4: g_0 = (½, 1, 0), g_w = (w, 2(1 − w), 0) for the w of (1, 0, 0). The dual's slope in w is −3/2 +
0.4 ‖g_0‖ < 0 at w = 1, so w = 1 and U = g_0 + 0.4 √1.25 (1, 0, 0)."""
S = 1 / (1 + np.exp(-1 / np.sqrt(2)))
"""For two unit vectors at right angles, ΔΔᵀ / √2 = I / √2: a row's softmax is (S, 1 − S), itself first."""
ASKED = {0: np.array([S, 1 - S]), 1: np.array([1 - S, S])}
"""A_1 and A_2 of the first changes."""


def changed(algorithm: Any, server: Any, deltas: Mapping[int, Array]) -> Any:
    """The server after a round in which clients' models change by ``deltas``."""
    uploads = []
    for client, delta in deltas.items():
        model = algorithm.broadcast(server, client, CTX)["model"]
        step = {"trunk.w": torch.tensor(delta[:3]), "head.t.b": torch.tensor(delta[3:])}
        uploads.append((client, Upload({"model": {name: model[name] + step[name] for name in model}}, 3 + client)))
    return algorithm.aggregate(server, uploads, CTX)


def blank(algorithm: Any, count: int) -> Any:
    """A server of clients whose models are 0."""
    zeros = {"trunk.w": torch.zeros(3, dtype=torch.float64), "head.t.b": torch.zeros(2, dtype=torch.float64)}
    return enrolled(algorithm, range(count), zeros)


def models(algorithm: Any, server: Any, count: int) -> Array:
    """Models on the server, [K, 5]."""
    return np.stack([vector(algorithm.broadcast(server, k, CTX)["model"]) for k in range(count)])


def without_weights_it_is_local(fedhca2: Callable[..., Any]) -> CheckResult:
    """α = β = 0 that stay so leave (6) and (7) w_k + Δ_k, what the client sent: Local's bits after 3 rounds."""
    found = play(fedhca2(lr=0.125, epochs=2, alpha=0.0, beta=0.0, hyper_lr=0.0), clients(), START, 3, steps=2)
    return same_bits(found.personal, play(Local(lr=0.125, epochs=2), clients(), START, 3, steps=2).personal)


def one_round_by_hand(fedhca2: Callable[..., Any]) -> CheckResult:
    """``FIRST``, made by the clients' own training, with α = ¼ and β = ½: θ_k = Δ_k + ¼ U, φ_k = Δ_k + ½ A_k. A
    client with more examples has no more weight."""
    federation = planted(list(FIRST.values()), [6, 10])
    found = play(fedhca2(lr=LR, epochs=1, alpha=0.25, beta=0.5, hyper_lr=0.0), federation, np.zeros(5), 1)
    expected = [FIRST[k] + np.concatenate([PULL / 4, ASKED[k] / 2]) for k in (0, 1)]
    return close(found.personal, expected, atol=1e-7)


def weights_learn_as_autograd_says(fedhca2: Callable[..., Any]) -> CheckResult:
    """The result of the first round as a function of the weights, clamp(α_k) U and clamp(β_k) A_k, with −Δ_k of the
    second round for the loss's gradient there; a step of SGD with ζ. The second round then uses the new α_k: the
    trunk is Δ_k + ¼ U of the first and Δ_k + α_k U of the second."""
    zeta = 0.0625
    algorithm = fedhca2(alpha=0.25, beta=0.5, hyper_lr=zeta)
    server = changed(algorithm, changed(algorithm, blank(algorithm, 2), FIRST), SECOND)
    estimates = algorithm.diagnostics(server)
    expected = []
    for k in (0, 1):
        for first, pull, part in ((0.25, PULL, slice(0, 3)), (0.5, ASKED[k], slice(3, 5))):
            weight = torch.tensor(first, dtype=torch.float64, requires_grad=True)
            result = weight.clamp(0, 1) * torch.tensor(pull)
            result.backward(gradient=torch.tensor(-SECOND[k][part]))
            torch.optim.SGD([weight], lr=zeta).step()
            expected.append(float(weight.detach()))
    alpha = np.array(expected[::2])
    trunks = [FIRST[k][:3] + PULL / 4 + SECOND[k][:3] + alpha[k] * PULL for k in (0, 1)]
    return every(
        close(estimates["alpha"], alpha, atol=1e-7),
        close(estimates["beta"], expected[1::2], atol=1e-7),
        close(models(algorithm, server, 2)[:, :3], trunks, atol=1e-6),
    )


def weights_stay_between_0_and_1(fedhca2: Callable[..., Any]) -> CheckResult:
    """With ζ = 100 a weight goes to 1 where its pull and the next change agree, and to 0 where they do not: ⟨U, Δ⟩ of
    ``FIRST`` and ``SECOND`` is positive for both, ⟨A, Δ⟩ is 1 − S for one head and S − 1 for the other. In a round
    without a client, that client's model and weights stay."""
    algorithm = fedhca2(alpha=0.25, beta=0.5, hyper_lr=100.0)
    server = changed(algorithm, changed(algorithm, blank(algorithm, 3), FIRST), SECOND)
    estimates = algorithm.diagnostics(server)
    return every(
        close(estimates["alpha"], [1, 1, 0.25], atol=1e-7),
        close(estimates["beta"], [1, 0, 0.5], atol=1e-7),
        close(models(algorithm, server, 3)[2], np.zeros(5), atol=0),
    )


def heads_of_one_shape_ask_each_other(fedhca2: Callable[..., Any]) -> CheckResult:
    """Client 0 owns heads a and b, of 2 numbers, client 1 owns c, of 2, and d, of 3. In (5), a, b and c ask each other,
    and d only itself, which is softmax of one number: A = Δ.

    For a = (1, 0), b = (0, 1), c = (−1, 0), d numbers being 2: a's weights are e^{1/√2}, 1, e^{−1/√2} over their sum.
    """
    heads = {0: {"a": [1.0, 0.0], "b": [0.0, 1.0]}, 1: {"c": [-1.0, 0.0], "d": [1.0, -2.0, 3.0]}}
    algorithm = fedhca2(beta=0.5, hyper_lr=0.0)
    first, uploads = {}, []
    for client, owned in heads.items():
        w = {f"head.{t}.w": torch.tensor(v, dtype=torch.float64) for t, v in owned.items()}
        w["trunk.w"] = torch.tensor([1.0, 2.0], dtype=torch.float64)
        first[client] = {name: torch.zeros_like(value) for name, value in w.items()}
        uploads.append((client, Upload({"model": w}, 4)))
    server = algorithm.aggregate(first_server(algorithm, {}, first, CTX), uploads, CTX)
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    weight = np.exp(rows @ rows.T / np.sqrt(2))
    asked = weight / weight.sum(axis=1, keepdims=True) @ rows
    got = {n: v.numpy() for k in heads for n, v in algorithm.broadcast(server, k, CTX)["model"].items()}
    return every(
        close(np.stack([got[f"head.{t}.w"] for t in "abc"]), rows + asked / 2, atol=1e-7),
        close(got["head.d.w"], np.array([1.5, -3.0, 4.5]), atol=1e-7),
    )


def weight_and_bias_share_a_weight(fedhca2: Callable[..., Any]) -> CheckResult:
    """One client, whose head's layers are p (weight, bias) and q (weight); alone, A = Δ. Δ is 1 for p's weight, −2 for
    its bias and 3 for q's in both rounds, so β_p rises by ζ (1 + 4) and β_q by ζ 9, from 0.1 with ζ = 1/64; after the
    second round a tensor is Δ (1 + 0.1) + Δ (1 + β)."""
    algorithm = fedhca2(beta=0.1, hyper_lr=1 / 64)
    names = {"trunk.w": 0.0, "head.t.p.weight": 1.0, "head.t.p.bias": -2.0, "head.t.q.weight": 3.0}
    first = {0: {name: torch.zeros(1, dtype=torch.float64) for name in names}}
    server = first_server(algorithm, {}, first, CTX)
    for _ in range(2):
        model = algorithm.broadcast(server, 0, CTX)["model"]
        sent = {name: model[name] + step for name, step in names.items()}
        server = algorithm.aggregate(server, [(0, Upload({"model": sent}, 4))], CTX)
    found = algorithm.broadcast(server, 0, CTX)["model"]
    p, q = 0.1 + 5 / 64, 0.1 + 9 / 64
    expected = [2.1 + p, -2 * (2.1 + p), 3 * (2.1 + q)]
    got = [float(found[name]) for name in ("head.t.p.weight", "head.t.p.bias", "head.t.q.weight")]
    return every(
        close(got, expected, atol=1e-6), close(algorithm.diagnostics(server)["beta"], [(p + q) / 2], atol=1e-6)
    )


CHECKS = (
    without_weights_it_is_local,
    one_round_by_hand,
    weights_learn_as_autograd_says,
    weights_stay_between_0_and_1,
    heads_of_one_shape_ask_each_other,
    weight_and_bias_share_a_weight,
)
"""Golden checks: numbers that an algorithm must give, derived apart from it."""

GAIN = Claim(one_mean, steps(alpha=1.0))
