"""What the protocol says of every optimiser, asked of every optimiser; what each computes is in fedmtl/verify/."""

import copy
import dataclasses
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import fedmtl.optimizers
from fedmtl.algorithms.common.local_training import sgd
from fedmtl.core.context import Context, NoContext, context_of
from fedmtl.core.trees import sha256, tree_leaves, tree_structure
from fedmtl.core.types import Batch, Params
from fedmtl.optimizers import SGD, Adam, AdamW, Clip, Cosine, Momentum, Optimizer, StepDecay, Warmup, WeightDecay, Yogi
from fedmtl.registry.components import REGISTRY, make

SETTINGS: list[Optimizer] = [
    SGD(),
    Momentum(),
    Momentum(beta=0.5, nesterov=True),
    AdamW(),
    AdamW(beta1=0.5, beta2=0.75, eps=1e-3, weight_decay=0.5),
    Adam(),
    Adam(beta1=0.5, beta2=0.75, tau=0.1),
    Yogi(),
    Yogi(beta1=0.5, beta2=0.75, tau=0.1),
    Clip(),
    Clip(norm=0.01, optimizer=AdamW()),
    WeightDecay(),
    WeightDecay(rate=0.5, optimizer=Clip(norm=0.1, optimizer=Momentum())),
    Cosine(),
    Cosine(rounds=4, floor=0.25, optimizer=Momentum()),
    StepDecay(),
    StepDecay(every=2, factor=0.25, optimizer=Clip(norm=0.1)),
    Warmup(),
    Warmup(rounds=4, optimizer=Cosine(rounds=8, optimizer=AdamW())),
]
NAMED = {type(optimizer).__name__ for optimizer in SETTINGS}
ALL_OPTIMIZERS = [*SETTINGS, *(make("optimizer", name) for name in REGISTRY["optimizer"] if name not in NAMED)]
"""Every registered optimizer."""

each_optimizer = pytest.mark.parametrize("optimizer", ALL_OPTIMIZERS, ids=repr)


THIRD = context_of(round=2)
"""The third round."""


def loss(params: Params, batch: Batch) -> Tensor:
    """Least squares, mean over the real rows."""
    error = batch["x"] @ params["head.t.w"] + params["trunk.b"] - batch["y.t"]
    return (error**2 * batch["mask"]).sum() / batch["mask"].sum().clamp(min=1)


def epoch(client: int, steps: int = 3, rows: int = 4) -> list[dict[str, Tensor]]:
    """Of which the last batch has one row that is padding."""
    draw = torch.Generator().manual_seed(client)
    found = []
    for step in range(steps):
        mask = torch.ones(rows)
        mask[rows - (step == steps - 1) :] = 0
        x, y = torch.randn(rows, 2, generator=draw), torch.randn(rows, generator=draw)
        found.append({"x": x, "y.t": y, "mask": mask})
    return found


def start(client: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(100 + client)
    return {"trunk.b": torch.randn(1, generator=draw), "head.t.w": torch.randn(2, generator=draw)}


def train(optimizer: Optimizer, params: Params, batches: Sequence[Batch], ctx: Context = THIRD) -> dict[str, Tensor]:
    return sgd(loss, params, batches, 0.05, 2, optimizer, ctx=ctx)


def walked(optimizer: Optimizer, steps: int = 3) -> list[tuple[Params, Any]]:
    """d and s of some steps."""
    w, state, found = start(), optimizer.init(start()), []
    for batch in epoch(0, steps):
        direction, state = optimizer.direction(state, torch.func.grad(loss)(w, batch), w, torch.tensor(2.0))
        found.append((direction, state))
    return found


def test_every_optimizer_is_under_contract() -> None:
    assert {type(optimizer).__name__ for optimizer in ALL_OPTIMIZERS} == REGISTRY["optimizer"].keys()


@each_optimizer
def test_it_is_a_value(optimizer: Any) -> None:
    """Frozen, hashable, equal to what its repr evaluates to, and to itself after a journey; no two are equal."""
    again = eval(repr(optimizer), dict(vars(fedmtl.optimizers)))
    assert again == optimizer and hash(again) == hash(optimizer)
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    assert [other for other in ALL_OPTIMIZERS if other == optimizer] == [optimizer]
    for field in dataclasses.fields(optimizer):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(optimizer, field.name, getattr(optimizer, field.name))


WRONG: dict[tuple[type, str], tuple[Any, ...]] = {
    (Momentum, "beta"): (-0.1, 1, float("nan"), "0.9", None, True),
    (Momentum, "nesterov"): (1, "yes", None),
    (AdamW, "beta1"): (-0.1, 1.0, float("nan"), None, True),
    (AdamW, "beta2"): (-0.1, 1.0, float("nan"), None, True),
    (AdamW, "eps"): (0, -1e-8, float("inf"), None, True),
    (AdamW, "weight_decay"): (-0.1, float("inf"), None, True),
    (Adam, "beta1"): (-0.1, 1.0, float("nan"), None, True),
    (Adam, "beta2"): (-0.1, 1.0, float("nan"), None, True),
    (Adam, "tau"): (0, -1e-3, float("inf"), None, True),
    (Yogi, "beta1"): (-0.1, 1.0, float("nan"), None, True),
    (Yogi, "beta2"): (-0.1, 1.0, float("nan"), None, True),
    (Yogi, "tau"): (0, -1e-3, float("inf"), None, True),
    (Clip, "norm"): (0, -1.0, float("inf"), float("nan"), "1", None, True),
    (WeightDecay, "rate"): (-0.1, float("inf"), float("nan"), "1", None, True),
    (Cosine, "rounds"): (0, -1, 1.5, "1", None, True),
    (Cosine, "floor"): (-0.1, 1.1, float("nan"), None, True),
    (StepDecay, "every"): (0, 1.5, None, True),
    (StepDecay, "factor"): (0, -1, float("inf"), None, True),
    (Warmup, "rounds"): (0, 1.5, None, True),
    **{(cls, "optimizer"): (SGD, "SGD", 1, None) for cls in (Clip, WeightDecay, Cosine, StepDecay, Warmup)},
}
"""Class and hyper-parameter -> values that it never takes."""


def test_wrong_hyper_parameters_are_named() -> None:
    fields = {(type(o), field.name) for o in ALL_OPTIMIZERS for field in dataclasses.fields(type(o))}  # pyright: ignore
    assert fields == WRONG.keys()
    for (cls, field), values in WRONG.items():
        for value in values:
            with pytest.raises(ValueError) as error:
                cls(**{field: value})
            assert f"{field}={value!r}" in str(error.value) and cls.__name__ in str(error.value)


@each_optimizer
def test_inputs_stay_as_they_were(optimizer: Optimizer) -> None:
    """State, gradient, parameters and round of each step; and equal inputs give equal bits."""
    w, state, round = start(), optimizer.init(start()), torch.tensor(2.0)
    for batch in epoch(0):
        gradient = torch.func.grad(loss)(w, batch)
        inputs = (state, gradient, w, round)
        before = copy.deepcopy(inputs)
        direction, new = optimizer.direction(*inputs)
        again, also = optimizer.direction(*inputs)
        assert sha256(inputs) == sha256(before)
        assert sha256((direction, new)) == sha256((again, also))
        state = new


@each_optimizer
def test_states_and_directions_keep_their_shapes(optimizer: Optimizer) -> None:
    """d has the names and shapes of w, s those of its first value; all is finite, and float32 as w is."""
    first = optimizer.init(start())
    for direction, state in walked(optimizer):
        assert tree_structure(dict(direction)) == tree_structure(start())
        assert tree_structure(state) == tree_structure(first)
        assert all(torch.isfinite(leaf).all() for leaf in tree_leaves((direction, state)))


@each_optimizer
def test_a_stack_of_clients_is_each_of_them(optimizer: Optimizer) -> None:
    """Three clients under vmap, in rounds 0, 2 and 5, against one after the other; to rounding."""
    rounds = (0, 2, 5)
    alone = [train(optimizer, start(k), epoch(k), context_of(round=t)) for k, t in enumerate(rounds)]
    params = [start(k) for k in range(3)]
    batches = [epoch(k) for k in range(3)]
    together = torch.vmap(lambda w, b, t: train(optimizer, w, b, Context(t)))(
        {name: torch.stack([one[name] for one in params]) for name in params[0]},
        [{key: torch.stack([one[step][key] for one in batches]) for key in batches[0][0]} for step in range(3)],
        torch.tensor(rounds, dtype=torch.float32),
    )
    for k, one in enumerate(alone):
        for name, value in one.items():
            torch.testing.assert_close(together[name][k], value, rtol=1e-5, atol=1e-6)


@each_optimizer
def test_padding_is_inert(optimizer: Optimizer) -> None:
    """Padded batches anywhere change no bit; padded rows none beyond rounding."""
    batches = epoch(0)
    expected = train(optimizer, start(), batches)
    empty = {key: torch.full_like(value, 0 if key == "mask" else 7) for key, value in batches[0].items()}
    assert sha256(train(optimizer, start(), [empty, batches[0], empty, *batches[1:], empty])) == sha256(expected)
    longer = [{key: torch.cat([value, empty[key][:2]]) for key, value in batch.items()} for batch in batches]
    found = train(optimizer, start(), longer)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


@each_optimizer
def test_it_trains(optimizer: Optimizer) -> None:
    """Three epochs on a client's own data take its loss down; so no test here is passed by standing still."""

    def total(w: Params) -> float:
        return sum(float(loss(w, batch)) for batch in epoch(0))

    w = start()
    for _ in range(3):
        w = train(optimizer, w, epoch(0))
    assert total(w) < total(start())


@each_optimizer
def test_nothing_to_train_is_no_error(optimizer: Optimizer) -> None:
    """A linear model has no trunk; an algorithm that trains the trunk by itself has nothing to do."""
    assert optimizer.direction(optimizer.init({}), {}, {}, torch.tensor(0.0))[0] == {}


def test_a_schedule_without_a_round_says_where_it_comes_from() -> None:
    for optimizer in (Warmup(), Clip(optimizer=WeightDecay(optimizer=StepDecay()))):
        with pytest.raises(NoContext, match=r"no context.*sgd\(…, ctx=ctx\)"):
            sgd(loss, start(), epoch(0), 0.05, 2, optimizer)
    sgd(loss, start(), epoch(0), 0.05, 2, Clip(optimizer=Momentum()))


def torch_weights(optimizer: Any, schedule: Any = None, clip: float | None = None) -> dict[str, Tensor]:
    """After two epochs, by an optimiser of torch's own, after ``round`` 2 of its schedule."""
    w = {name: value.clone().requires_grad_() for name, value in start().items()}
    own = optimizer(list(w.values()), lr=0.05)
    if schedule is not None:
        plan = schedule(own)
        own.step()  # nothing has a gradient: torch warns when a schedule steps first
        for _ in range(2):
            plan.step()
    for batch in epoch(0) * 2:
        own.zero_grad()
        loss(w, batch).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(list(w.values()), clip)
        own.step()
    return {name: value.detach() for name, value in w.items()}


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (SGD(), (torch.optim.SGD,)),
        (Momentum(), (lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),)),
        (Momentum(0.5, True), (lambda p, lr: torch.optim.SGD(p, lr, momentum=0.5, nesterov=True),)),
        (AdamW(), (lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.01),)),
        (
            AdamW(0.5, 0.75, 1e-3, 0.5),
            (lambda p, lr: torch.optim.AdamW(p, lr, betas=(0.5, 0.75), eps=1e-3, weight_decay=0.5),),
        ),
        (AdamW(weight_decay=0.0), (torch.optim.Adam,)),
        (WeightDecay(0.5), (lambda p, lr: torch.optim.SGD(p, lr, weight_decay=0.5),)),
        (WeightDecay(0.5, AdamW(weight_decay=0)), (lambda p, lr: torch.optim.Adam(p, lr, weight_decay=0.5),)),
        (Clip(0.5, Momentum()), (lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9), None, 0.5)),
        (
            Cosine(rounds=6, floor=0.2),
            (torch.optim.SGD, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 6, eta_min=0.2 * 0.05)),
        ),
        (StepDecay(2, 0.1, AdamW()), (torch.optim.AdamW, lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.1))),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else repr(value),  # a function prints its address
)
def test_it_is_what_torch_calls_so(optimizer: Optimizer, expected: tuple[Any, ...]) -> None:
    """In round 2, two epochs of three batches: torch's own, an implementation apart, to float32's rounding."""
    found = train(optimizer, start(), epoch(0))
    for name, value in torch_weights(*expected).items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=2e-6)
