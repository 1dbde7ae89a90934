"""What is asked of every model: sizes that follow from its fields, functions that engines can lift."""

import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.func import grad

import fedmtl.models
from fedmtl.core.types import Params
from fedmtl.engines.kernels import batched_layers
from fedmtl.models import (
    CNN,
    GRU,
    LSTM,
    MLP,
    BagOfEmbeddings,
    Linear,
    LoRA,
    Model,
    ResNet,
    ShareMap,
    TemporalCNN,
    TextCNN,
    TextEncoder,
    TransformerEncoder,
    UNet,
)
from fedmtl.models.split import build, initial_params, loss_fn
from fedmtl.models.split_model import Outputs, SplitModel
from fedmtl.registry.components import REGISTRY, make
from fedmtl.tasks import MultiClass, Regression, Task
from fedmtl.tasks.base import output_shape

TASKS: dict[str, Task] = {"amount": Regression(), "kind": MultiClass(3)}


class Case(NamedTuple):
    model: Model
    input_shape: tuple[int, ...]
    features: int | tuple[int, ...]
    trunk: list[tuple[int, ...]] | None
    """Shapes of the trunk's weights, worked out by hand from the class's docstring; None: not known."""
    vocabulary: int = 0
    """Of inputs that are tokens."""
    biases: bool = True
    """Each weight has a bias."""


SETTINGS = [
    Case(MLP(), (5,), 64, [(64, 5)]),
    Case(MLP((7, 6)), (5,), 6, [(7, 5), (6, 7)]),
    Case(MLP((4,)), (2, 3, 3), 4, [(4, 18)]),
    Case(Linear(), (5,), 5, []),
    Case(Linear(intercept=False), (2, 3, 3), 18, []),
    Case(ShareMap(MLP((4,)), {"trunk.*": "shared"}), (5,), 4, [(4, 5)]),
    Case(LoRA(MLP((7, 6)), rank=5), (5,), 6, [(7, 5), (6, 7)]),
    Case(LoRA(CNN((3,), hidden=4), rank=2, targets=("*.0", "4.weight")), (1, 6, 6), 4, [(3, 1, 3, 3), (4, 27)]),
    # 8×8 → 4×4 → 2×2 of 32 channels.
    Case(CNN(), (1, 8, 8), 64, [(16, 1, 3, 3), (32, 16, 3, 3), (64, 128)]),
    # 9×14 → 4×7 of 5: a row that does not fill a pool is dropped.
    Case(CNN((5,), hidden=3), (2, 9, 14), 3, [(5, 2, 3, 3), (3, 140)]),
    # 21 → 10 → 5 of 32.
    Case(TemporalCNN(), (3, 21), 64, [(16, 3, 5), (32, 16, 5), (64, 160)]),
    # 8 → 4 → 2 → 1 of 6: the last that is left.
    Case(TemporalCNN((2, 4, 6), hidden=9), (1, 8), 9, [(2, 1, 5), (4, 2, 5), (6, 4, 5), (9, 6)]),
    # Two convolutions a block; the stages after the first also have one of 1×1, as channels and sides change.
    Case(
        ResNet(width=4),
        (3, 9, 8),
        16,
        [
            *[(4, 3, 3, 3), (4, 4, 3, 3), (4, 4, 3, 3)],
            *[(8, 4, 3, 3), (8, 8, 3, 3), (8, 4, 1, 1)],
            *[(16, 8, 3, 3), (16, 16, 3, 3), (16, 8, 1, 1)],
        ],
        biases=False,
    ),
    Case(ResNet(width=2, norm="batch"), (1, 4, 5), 8, None),
    # Down 7×6 → 4×3; up by a transposed convolution, which doubles; joined with the first level's own features.
    Case(
        UNet((4, 6)),
        (3, 7, 6),
        (4, 7, 6),
        [(4, 3, 3, 3), (4, 4, 3, 3), (6, 4, 3, 3), (6, 6, 3, 3), (6, 4, 2, 2), (4, 8, 3, 3), (4, 4, 3, 3)],
        biases=False,
    ),
    Case(UNet((3,), norm="batch"), (2, 4, 4), (3, 4, 4), [(3, 2, 3, 3), (3, 3, 3, 3)], biases=False),
    # Gates times the state's size; the first layer reads the channels, the next ones the state.
    Case(GRU(hidden=5), (3, 7), 5, [(15, 3), (15, 5)]),
    Case(GRU(hidden=4, layers=2, vocabulary=9, width=3), (6,), 4, None, vocabulary=9),
    Case(GRU(hidden=4, per_step=True), (2, 6), (4, 6), [(12, 2), (12, 4)]),
    Case(LSTM(hidden=5, layers=2), (3, 7), 5, [(20, 3), (20, 5), (20, 5), (20, 5)]),
    Case(LSTM(hidden=4, vocabulary=9, width=3, per_step=True), (6,), (4, 6), None, vocabulary=9),
    Case(BagOfEmbeddings(9, width=5), (6,), 5, [(9, 5)], vocabulary=9, biases=False),
    Case(BagOfEmbeddings(9, width=5, hidden=4), (1,), 4, [(9, 5), (4, 5)], vocabulary=9, biases=False),
    Case(TextCNN(9, width=4, channels=3), (7,), 9, [(9, 4), (3, 4, 3), (3, 4, 4), (3, 4, 5)], 9, biases=False),
    Case(TextCNN(9, width=4, kernels=(2,), channels=3, dropout=0.5), (2,), 3, [(9, 4), (3, 4, 2)], 9, biases=False),
    # Tokens, positions, and a layer's qkv, out, up and down.
    Case(
        TransformerEncoder(9, width=4, heads=2, layers=1, hidden=6),
        (5,),
        4,
        [(9, 4), (5, 4), (12, 4), (4, 4), (6, 4), (4, 6)],
        vocabulary=9,
        biases=False,
    ),
    Case(TextEncoder(), (5,), 64, None, vocabulary=16384),
    Case(TransformerEncoder(9, 4, heads=1, hidden=6, dropout=0.2, per_token=True), (5,), (4, 5), None, vocabulary=9),
]
OTHERS = {"FromModule", "Stems", "Pretrained", "Timm", "Transformers"}
"""Models that need a module, a file, a package, or inputs of several shapes: ``test_from_module.py``,
``test_pretrained.py``, ``test_named_models.py`` and ``test_stems.py`` have their contract."""
NAMED = {type(case.model).__name__ for case in SETTINGS} | OTHERS


def as_registered(model: Model) -> Case:
    """The case of a model with its defaults, on inputs of the first shape that it takes."""
    for shape in ((5,), (1, 8, 8), (3, 21)):
        try:
            features = model.trunk(shape)(torch.zeros(1, *shape)).shape[1:]
        except (ValueError, RuntimeError):
            continue
        return Case(model, shape, features[0] if len(features) == 1 else tuple(features), None)
    raise ValueError(f"{model!r} takes no inputs of shape (5,), (1, 8, 8) or (3, 21); add a line to SETTINGS.")


ALL_MODELS = [*SETTINGS, *(as_registered(make("model", name)) for name in REGISTRY["model"] if name not in NAMED)]
"""Every registered model."""


@pytest.fixture(params=ALL_MODELS, ids=lambda case: f"{case.model}-{case.input_shape}")
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def inputs(case: Case, rows: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if case.vocabulary:
        return torch.randint(0, case.vocabulary, (rows, *case.input_shape), generator=generator)
    return torch.randn(rows, *case.input_shape, generator=generator)


def built(case: Case) -> SplitModel:
    return build(case.model, case.input_shape, TASKS, 0, bool(case.vocabulary))


def test_every_model_is_under_contract() -> None:
    assert {type(case.model).__name__ for case in ALL_MODELS} | OTHERS == REGISTRY["model"].keys()


def test_a_model_is_a_value(case: Case) -> None:
    copy = pickle.loads(pickle.dumps(case.model))
    assert copy == case.model and hash(copy) == hash(case.model)
    assert eval(repr(case.model), dict(vars(fedmtl.models))) == case.model
    with pytest.raises(AttributeError):
        case.model.hidden = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("rows", [1, 4])
def test_shapes(case: Case, rows: int) -> None:
    trunk, head = case.model.trunk(case.input_shape).eval(), case.model.head(case.features, 3)
    features = trunk(inputs(case, rows))
    assert features.shape == (rows, *output_shape(case.features)) and head(features).shape == (rows, 3)
    if case.trunk is None:
        return
    assert [tuple(p.shape) for p in trunk.parameters() if p.ndim > 1] == case.trunk
    if case.biases:
        assert [tuple(p.shape) for p in trunk.parameters() if p.ndim == 1] == [(shape[0],) for shape in case.trunk]


def test_rows_do_not_see_each_other(case: Case) -> None:
    """So padding is invisible: a row alone has the features that it has among others, and pure functions stay pure."""
    trunk, x = case.model.trunk(case.input_shape).eval(), inputs(case, 5)
    before = x.clone()
    features = trunk(x)
    for row in range(5):
        torch.testing.assert_close(trunk(x[row : row + 1])[0], features[row], rtol=1e-5, atol=1e-5)
    assert torch.equal(x, before) and torch.equal(trunk(x), features)


def test_every_input_and_every_parameter_counts(case: Case) -> None:
    """On 64 rows, so that no ReLU is closed on all of them by chance; of an odd side the last entry may be dropped.

    Away from the first parameters, which may be 0. Of a token, there is no slope: another one has other outputs.
    """
    tasks = TASKS
    module = built(case).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    x = inputs(case, 64)
    own = dict(module.named_parameters())
    outputs = Outputs(module, tuple(tasks))(own, x if case.vocabulary else x.requires_grad_(), None)
    assert outputs.keys() == tasks.keys()
    total = sum((output**2).sum() for output in outputs.values())
    assert isinstance(total, Tensor)
    inner = [] if case.vocabulary else [x]
    slopes = torch.autograd.grad(total, [*inner, *own.values()])
    named = zip(own.items(), slopes[len(inner) :], strict=True)
    assert [name for (name, _), slope in named if not slope.any()] == []
    if case.vocabulary:
        for place in range(x.shape[1]):
            other = x.clone()
            other[:, place] = 1 + (x[:, place] + 1) % (case.vocabulary - 1)
            assert (Outputs(module, tuple(tasks))(own, other, None)["kind"] - outputs["kind"]).abs().amax() > 1e-5
        return
    kept = slopes[0].abs().sum(0)[(slice(None), *(slice(side // 2 * 2) for side in case.input_shape[1:]))]
    assert (kept if len(case.input_shape) > 1 else slopes[0].abs().sum(0)).all()


@pytest.mark.parametrize("layers", [nullcontext, batched_layers], ids=["torch", "kernels"])
def test_vmap_is_a_loop(case: Case, layers: Callable[[], AbstractContextManager[None]]) -> None:
    """The gradient of three clients' losses, each in parameters of its own; by torch alone, and by layers that stack
    well, as engines do. Of recurrences and attention torch alone runs some client by client."""
    if layers is nullcontext and isinstance(case.model, GRU | LSTM | TransformerEncoder | TextEncoder):
        pytest.skip("torch has no rule for a stack of these")
    module = built(case)
    loss = loss_fn(module, TASKS, ("amount", "kind"))
    generator = torch.Generator().manual_seed(1)
    clients = []
    for k in range(3):
        params = {n: v + 0.1 * torch.randn(v.shape, generator=generator) for n, v in initial_params(module).items()}
        y = {"y.amount": torch.randn(4, generator=generator), "y.kind": torch.tensor([0.0, 2.0, torch.nan, 1.0])}
        clients.append((params, {"x": inputs(case, 4, k), **y, "mask": torch.tensor([1.0, 1.0, 1.0, 0.0])}))

    def stack(trees: list[Params]) -> Params:
        return {name: torch.stack([tree[name] for tree in trees]) for name in trees[0]}

    with layers():
        stacked = torch.vmap(grad(loss))(stack([p for p, _ in clients]), stack([b for _, b in clients]))
    for k, (params, batch) in enumerate(clients):
        for name, slope in grad(loss)(params, batch).items():
            torch.testing.assert_close(stacked[name][k], slope, rtol=1e-4, atol=1e-6)


def test_lists_become_tuples() -> None:
    """As they come from a text file."""
    assert MLP([3, 4]) == MLP((3, 4)) and hash(MLP([3, 4])) == hash(MLP((3, 4)))  # type: ignore[arg-type]
    assert CNN([3]) == CNN((3,)) and TemporalCNN([3]) == TemporalCNN((3,))  # type: ignore[arg-type]
    assert UNet([3]) == UNet((3,)) and TextCNN(kernels=[3]) == TextCNN(kernels=(3,))  # type: ignore[arg-type]


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
        (lambda: ResNet(depth=20), r"ResNet has a depth of 8 or 18, got depth=20"),
        (lambda: ResNet(width=0), r"ResNet needs positive sizes, got depth=8, width=0"),
        (lambda: ResNet(norm="layer"), r"ResNet: norm is 'group' or 'batch', got 'layer'"),
        (lambda: ResNet().trunk((9,)), r"ResNet takes images of shape .*, got \(9,\); try MLP"),
        (lambda: ResNet(depth=18).trunk((1, 8, 7)), r"halves the W 3 times, .* of 7; take a smaller depth"),
        (lambda: UNet(()), r"UNet needs positive sizes, got channels=\(\)"),
        (lambda: UNet((4, 4), norm=""), r"UNet: norm is 'group' or 'batch', got ''"),
        (lambda: UNet().trunk((1, 3, 8)), r"UNet halves the H 2 times, which leaves nothing of 3; give fewer"),
        (lambda: UNet().trunk((8, 8, 3)), r"channels seem to be last"),
        (lambda: GRU(hidden=0), r"GRU needs positive sizes, got hidden=0, layers=1, width=64"),
        (lambda: LSTM(vocabulary=1), r"LSTM needs a vocabulary of at least 2 tokens, .*got vocabulary=1"),
        (lambda: GRU().trunk((9,)), r"GRU takes signals of shape .*\(9,\); try GRU\(vocabulary=…\) for texts"),
        (lambda: LSTM().trunk((1, 8, 8)), r"LSTM takes signals .*try CNN or ResNet for images"),
        (lambda: GRU(vocabulary=9).trunk((3, 9)), r"GRU with vocabulary=9 takes texts .*leave vocabulary out"),
        (lambda: BagOfEmbeddings(1), r"at least 2 tokens, padding \(0\) and one more, got vocabulary=1"),
        (lambda: BagOfEmbeddings(9, width=0), r"BagOfEmbeddings needs positive sizes, got width=0"),
        (lambda: BagOfEmbeddings(9, hidden=-1), r"hidden is a size, or 0 for no hidden layer, got -1"),
        (lambda: BagOfEmbeddings().trunk((3, 9)), r"takes texts of shape \(tokens,\).*\(3, 9\); try TemporalCNN"),
        (lambda: TextCNN().trunk((1, 8, 8)), r"TextCNN takes texts .*got \(1, 8, 8\); try CNN or ResNet for images"),
        (lambda: TextCNN(kernels=()), r"TextCNN needs positive sizes, got width=64, kernels=\(\)"),
        (lambda: TextCNN(dropout=1.0), r"dropout is a probability from 0 to below 1, got 1.0"),
        (
            lambda: TextCNN().trunk((4,)),
            r"kernel of 5 tokens, .* texts of 4; give kernels of at most 4",
        ),
        (lambda: TransformerEncoder(heads=3), r"width is a multiple of heads, got width=64, heads=3; take width=66"),
        (lambda: TransformerEncoder(layers=0), r"TransformerEncoder needs positive sizes, .*layers=0"),
        (lambda: TransformerEncoder(dropout=-0.1), r"TransformerEncoder: dropout is a probability .*-0.1"),
    ],
)
def test_what_cannot_be_is_said(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
