"""What is asked of every model: flat features, sizes that follow from its fields, functions that engines can lift."""

import pickle
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.func import grad

import fedmtl.models
from fedmtl.core.types import Params
from fedmtl.models import CNN, MLP, Linear, Model, ShareMap, TemporalCNN
from fedmtl.models.split import build, initial_params, loss_fn
from fedmtl.registry.components import REGISTRY, make
from fedmtl.tasks import MultiClass, Regression, Task

TASKS: dict[str, Task] = {"amount": Regression(), "kind": MultiClass(3)}


class Case(NamedTuple):
    model: Model
    input_shape: tuple[int, ...]
    features: int
    trunk: list[tuple[int, ...]] | None
    """Shapes of the trunk's weights, worked out by hand from the class's docstring; None: not known."""


SETTINGS = [
    Case(MLP(), (5,), 64, [(64, 5)]),
    Case(MLP((7, 6)), (5,), 6, [(7, 5), (6, 7)]),
    Case(MLP((4,)), (2, 3, 3), 4, [(4, 18)]),
    Case(Linear(), (5,), 5, []),
    Case(Linear(intercept=False), (2, 3, 3), 18, []),
    Case(ShareMap(MLP((4,)), {"trunk.*": "shared"}), (5,), 4, [(4, 5)]),
    # 8×8 → 4×4 → 2×2 of 32 channels.
    Case(CNN(), (1, 8, 8), 64, [(16, 1, 3, 3), (32, 16, 3, 3), (64, 128)]),
    # 9×14 → 4×7 of 5: a row that does not fill a pool is dropped.
    Case(CNN((5,), hidden=3), (2, 9, 14), 3, [(5, 2, 3, 3), (3, 140)]),
    # 21 → 10 → 5 of 32.
    Case(TemporalCNN(), (3, 21), 64, [(16, 3, 5), (32, 16, 5), (64, 160)]),
    # 8 → 4 → 2 → 1 of 6: the last that is left.
    Case(TemporalCNN((2, 4, 6), hidden=9), (1, 8), 9, [(2, 1, 5), (4, 2, 5), (6, 4, 5), (9, 6)]),
]
NAMED = {type(case.model).__name__ for case in SETTINGS}


def as_registered(model: Model) -> Case:
    """The case of a model with its defaults, on inputs of the first shape that it takes."""
    for shape in ((5,), (1, 8, 8), (3, 21)):
        try:
            features = model.trunk(shape)(torch.zeros(1, *shape)).shape[1]
        except (ValueError, RuntimeError):
            continue
        return Case(model, shape, features, None)
    raise ValueError(f"{model!r} takes no inputs of shape (5,), (1, 8, 8) or (3, 21); add a line to SETTINGS.")


ALL_MODELS = [*SETTINGS, *(as_registered(make("model", name)) for name in REGISTRY["model"] if name not in NAMED)]
"""Every registered model."""


@pytest.fixture(params=ALL_MODELS, ids=lambda case: f"{case.model}-{case.input_shape}")
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def inputs(case: Case, rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, *case.input_shape, generator=torch.Generator().manual_seed(seed))


def test_every_model_is_under_contract() -> None:
    assert {type(case.model).__name__ for case in ALL_MODELS} == REGISTRY["model"].keys()


def test_a_model_is_a_value(case: Case) -> None:
    copy = pickle.loads(pickle.dumps(case.model))
    assert copy == case.model and hash(copy) == hash(case.model)
    assert eval(repr(case.model), dict(vars(fedmtl.models))) == case.model
    with pytest.raises(AttributeError):
        case.model.hidden = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("rows", [1, 4])
def test_shapes(case: Case, rows: int) -> None:
    trunk, head = case.model.trunk(case.input_shape), case.model.head(case.features, 3)
    features = trunk(inputs(case, rows))
    assert features.shape == (rows, case.features) and head(features).shape == (rows, 3)
    if case.trunk is None:
        return
    assert [tuple(p.shape) for p in trunk.parameters() if p.ndim > 1] == case.trunk
    assert [tuple(p.shape) for p in trunk.parameters() if p.ndim == 1] == [(shape[0],) for shape in case.trunk]


def test_rows_do_not_see_each_other(case: Case) -> None:
    """So padding is invisible: a row alone has the features that it has among others, and pure functions stay pure."""
    trunk, x = case.model.trunk(case.input_shape), inputs(case, 5)
    before = x.clone()
    features = trunk(x)
    for row in range(5):
        torch.testing.assert_close(trunk(x[row : row + 1])[0], features[row], rtol=1e-5, atol=1e-6)
    assert torch.equal(x, before) and torch.equal(trunk(x), features)


def test_every_input_and_every_parameter_counts(case: Case) -> None:
    """On 64 rows, so that no ReLU is closed on all of them by chance; of an odd side the last entry may be dropped.

    Away from the first parameters, which may be 0.
    """
    tasks = TASKS
    module = build(case.model, case.input_shape, tasks, 0, False)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    x = inputs(case, 64).requires_grad_()
    outputs = module(x)
    assert outputs.keys() == tasks.keys()
    total = sum((output**2).sum() for output in outputs.values())
    assert isinstance(total, Tensor)
    slopes = torch.autograd.grad(total, [x, *module.parameters()])
    dead = [name for (name, _), g in zip(module.named_parameters(), slopes[1:], strict=True) if not g.any()]
    assert dead == []
    kept = slopes[0].abs().sum(0)[(slice(None), *(slice(side // 2 * 2) for side in case.input_shape[1:]))]
    assert (kept if len(case.input_shape) > 1 else slopes[0].abs().sum(0)).all()


def test_vmap_is_a_loop(case: Case) -> None:
    """The gradient of three clients' losses, each in parameters of its own."""
    module = build(case.model, case.input_shape, TASKS, 0, False)
    loss = loss_fn(module, TASKS, ("amount", "kind"))
    generator = torch.Generator().manual_seed(1)
    clients = []
    for k in range(3):
        params = {n: v + 0.1 * torch.randn(v.shape, generator=generator) for n, v in initial_params(module).items()}
        y = {"y.amount": torch.randn(4, generator=generator), "y.kind": torch.tensor([0.0, 2.0, torch.nan, 1.0])}
        clients.append((params, {"x": inputs(case, 4, k), **y, "mask": torch.tensor([1.0, 1.0, 1.0, 0.0])}))

    def stack(trees: list[Params]) -> Params:
        return {name: torch.stack([tree[name] for tree in trees]) for name in trees[0]}

    stacked = torch.vmap(grad(loss))(stack([p for p, _ in clients]), stack([b for _, b in clients]))
    for k, (params, batch) in enumerate(clients):
        for name, slope in grad(loss)(params, batch).items():
            torch.testing.assert_close(stacked[name][k], slope, rtol=1e-4, atol=1e-6)


def test_lists_become_tuples() -> None:
    """As they come from a text file."""
    assert MLP([3, 4]) == MLP((3, 4)) and hash(MLP([3, 4])) == hash(MLP((3, 4)))  # type: ignore[arg-type]
    assert CNN([3]) == CNN((3,)) and TemporalCNN([3]) == TemporalCNN((3,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(()), r"at least one hidden layer and positive sizes, got hidden=\(\)"),
        (lambda: MLP((4, 0)), r"positive sizes, got hidden=\(4, 0\)"),
        (lambda: CNN(()), r"CNN needs positive sizes, got channels=\(\), hidden=64"),
        (lambda: CNN((4, -1)), r"CNN needs positive sizes, got channels=\(4, -1\)"),
        (lambda: CNN(hidden=0), r"CNN needs positive sizes, .*hidden=0"),
        (lambda: TemporalCNN((0,)), r"TemporalCNN needs positive sizes, got channels=\(0,\)"),
        (lambda: TemporalCNN(hidden=-2), r"TemporalCNN needs positive sizes, .*hidden=-2"),
        (lambda: CNN().trunk((8, 8)), r"images of shape \(channels, height, width\), got \(8, 8\); try MLP"),
        (lambda: TemporalCNN().trunk((8,)), r"signals of shape \(channels, samples\), got \(8,\); try MLP"),
        (lambda: CNN().trunk((1, 8, 3)), r"CNN halves the W 2 times, which leaves nothing of 3"),
        (lambda: CNN().trunk((1, 2, 8)), r"CNN halves the H 2 times, which leaves nothing of 2"),
        (lambda: TemporalCNN((4, 4, 4)).trunk((1, 7)), r"halves the signal 3 times, which leaves nothing of 7"),
    ],
)
def test_what_cannot_be_is_said(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
