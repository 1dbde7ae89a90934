"""HeteroFL against rounds of a small network in numpy."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.fedper import FedPer
from fedmtl.core.context import context_of
from fedmtl.verify.beats_local import Claim, around
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.planted import one_subspace
from fedmtl.verify.quadratic import clients, play

Layers = dict[str, NDArray[np.float64]]

LR = 0.125
EXAMPLES = (6, 10, 14)
WIDTHS = (1.0, 0.5, 0.25)
SIZES = (5, 6)
"""Units of the two hidden layers; inputs are 3, and there is one output."""

START: Layers = {
    "trunk.1.weight": np.random.default_rng(0).standard_normal((5, 3)),
    "trunk.1.bias": np.random.default_rng(1).standard_normal(5),
    "trunk.3.weight": np.random.default_rng(2).standard_normal((6, 5)),
    "trunk.3.bias": np.random.default_rng(3).standard_normal(6),
    "head.t.weight": np.random.default_rng(4).standard_normal((1, 6)),
    "head.t.bias": np.random.default_rng(5).standard_normal(1),
}


def _data(k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    draw = np.random.default_rng(10 + k)
    x = draw.standard_normal((EXAMPLES[k], 3))
    return x, np.sin(x @ draw.standard_normal((3, 1)))


def _shapes(width: float) -> dict[str, tuple[int, ...]]:
    """⌈width · 5⌉ and ⌈width · 6⌉ units."""
    one, two = (ceil(width * size) for size in SIZES)
    rows = {"trunk.1": (one, 3), "trunk.3": (two, one), "head.t": (1, two)}
    return {f"{name}.{part}": size[: 2 - place] for name, size in rows.items() for place, part in enumerate(PARTS)}


PARTS = ("weight", "bias")


def _loss(params: Any, batch: Any) -> Tensor:
    """The mean squared error, of which padding is no part; two layers with ReLU, in torch."""
    h = torch.relu(batch["x"] @ params["trunk.1.weight"].T + params["trunk.1.bias"])
    g = torch.relu(h @ params["trunk.3.weight"].T + params["trunk.3.bias"])
    return ((g @ params["head.t.weight"].T + params["head.t.bias"] - batch["y"]) ** 2).mean()


def _step(w: Layers, k: int) -> Layers:
    """One step on all examples, by the chain rule in numpy."""
    x, y = _data(k)
    h = np.maximum(x @ w["trunk.1.weight"].T + w["trunk.1.bias"], 0)
    g = np.maximum(h @ w["trunk.3.weight"].T + w["trunk.3.bias"], 0)
    r = 2 * (g @ w["head.t.weight"].T + w["head.t.bias"] - y) / len(x)
    dg = (r @ w["head.t.weight"]) * (g > 0)
    dh = (dg @ w["trunk.3.weight"]) * (h > 0)
    slope = {"head.t": (r, g), "trunk.3": (dg, h), "trunk.1": (dh, x)}
    found = {}
    for name, (left, right) in slope.items():
        found[f"{name}.weight"] = w[f"{name}.weight"] - LR * left.T @ right
        found[f"{name}.bias"] = w[f"{name}.bias"] - LR * left.sum(0)
    return found


def _by_hand(rounds: int, widths: Sequence[float], private: bool) -> tuple[Layers, list[Layers]]:
    """(1) to (4), number by number; ``private`` heads stay with their clients."""
    server = {name: w.copy() for name, w in START.items()}
    shapes = [_shapes(width) for width in widths]
    own = [{name: START[name][tuple(map(slice, shape))] for name, shape in one.items()} for one in shapes]
    for _ in range(rounds):
        for k, one in enumerate(shapes):
            for name, shape in one.items():
                if not (private and name.startswith("head.")):
                    own[k][name] = server[name][tuple(map(slice, shape))].copy()  # (1)
            own[k] = _step(own[k], k)  # (2)
        for name, w in server.items():
            for place in np.ndindex(w.shape):
                has = [k for k, one in enumerate(shapes) if (np.array(place) < one[name]).all()]
                if has:  # (3), else (4)
                    total = sum(EXAMPLES[k] for k in has)
                    w[place] = sum(EXAMPLES[k] * own[k][name][place] for k in has) / total
    return server, own


def _tensors(w: Layers) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in w.items()}


def _played(cls: Any, inner: Any, rounds: int, widths: Sequence[float]) -> tuple[Any, list[Any], list[list[int]]]:
    """The server's state, the private ones, and the numbers in each client's packets, down and up."""
    recipe = cls(inner, {f"{k}": width for k, width in enumerate(widths)})
    by_width = {str(width): _shapes(width) for width in widths}
    algorithm = recipe.of_widths(inner, {k: str(width) for k, width in enumerate(widths)}, by_width)
    ctx = context_of(seed=1)
    server, private, sizes = algorithm.init_server(_tensors(START), ctx), [], []
    for k, width in enumerate(widths):
        first = {name: START[name][tuple(map(slice, shape))] for name, shape in by_width[str(width)].items()}
        private.append(algorithm.init_client(_tensors(first), EXAMPLES[k]))
    for round in range(rounds):
        ctx, uploads, sizes = context_of(seed=1, round=round), [], []
        for k in range(len(widths)):
            x, y = _data(k)
            batch = {"x": torch.tensor(x), "y": torch.tensor(y), "mask": torch.ones(len(x))}
            down = algorithm.broadcast(server, k, ctx)
            result = algorithm.local_update(_loss, down, private[k], [batch], ctx)
            private[k] = result.private
            uploads.append((k, result.upload))
            ((_, sent),), ((_, back),) = down.items(), result.upload.payload.items()
            sizes.append([sum(w.numel() for w in one.values()) for one in (sent, back)])
        server = algorithm.aggregate(server, uploads, ctx)
    return server, private, sizes


def two_rounds_by_hand(cls: Callable[..., Any]) -> CheckResult:
    """Widths 1, ½ and ¼ of 5 and 6 units, so of 5, 3, 2 and 6, 3, 2; all by FedAvg, the trunk alone by FedPer, and
    without the wide client, where numbers that none has stay as they were."""
    found = []
    for inner, private in ((FedAvg(lr=LR, epochs=1), False), (FedPer(lr=LR, epochs=1), True)):
        for widths in (WIDTHS, (0.5, 0.25)):
            server, own, _ = _played(cls, inner, 2, widths)
            expected, mine = _by_hand(2, widths, private)
            found += [close(value.numpy(), expected[name], atol=1e-12) for name, value in server.items()]
            if private:
                found += [
                    close(own[k][f"head.t.{part}"].numpy(), mine[k][f"head.t.{part}"], atol=1e-12)
                    for k in range(len(widths))
                    for part in PARTS
                ]
    return every(*found)


def packets_hold_the_leading_blocks(cls: Callable[..., Any]) -> CheckResult:
    """A trunk has a (3 + 1) + b (a + 1) numbers with a = 5, 3, 2 and b = 6, 3, 2: 56, 24 and 14; a model b + 1
    more: 63, 28 and 17."""
    trunk, model = (_played(cls, inner, 1, WIDTHS)[2] for inner in (FedPer(epochs=1), FedAvg(epochs=1)))
    return every(
        close(trunk, [[56, 56], [24, 24], [14, 14]], atol=0), close(model, [[63, 63], [28, 28], [17, 17]], atol=0)
    )


def with_all_widths_1_it_is_the_wrapped_algorithm(cls: Callable[..., Any]) -> CheckResult:
    """Bit for bit, as it stands, and with means taken number by number."""
    inner = FedAvg(lr=LR, epochs=2)
    start = np.array([0.4, -0.3, 0.8, 0.1, -0.6])
    alone, federation = play(inner, clients(), start, 3), clients()
    plain = cls(inner)
    shapes = {"1": {"trunk.w": (3,), "head.t.b": (2,)}}
    bound = plain.of_widths(inner, dict.fromkeys(range(3), "1"), shapes)
    return every(
        same_bits(play(plain, federation, start, 3).personal, alone.personal),
        same_bits(play(bound, federation, start, 3).personal, alone.personal),
    )


CHECKS = (
    two_rounds_by_hand,
    packets_hold_the_leading_blocks,
    with_all_widths_1_it_is_the_wrapped_algorithm,
)

GAIN = Claim(one_subspace, around(FedPer, lr=0.05), rounds=60)
