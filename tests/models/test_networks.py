"""Networks of fedmtl against torch's own layers, padding, heads for places, and runs in both engines."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from fedmtl import (
    CNN,
    GRU,
    LSTM,
    MLP,
    BagOfEmbeddings,
    Experiment,
    FedAvg,
    FedPer,
    ResNet,
    TextCNN,
    TransformerEncoder,
    UNet,
    from_arrays,
    from_frame,
    run,
)
from fedmtl.engines.kernels import batched_layers
from fedmtl.engines.trace import waits
from fedmtl.models.heads import places_head
from fedmtl.models.split import build
from fedmtl.tasks import Binary, DenseClasses, DenseRegression, MultiClass, SequenceLabels
from tests.models.stateful_runs import furthest
from tests.models.test_shapes import Map

TEXTS: dict[str, Any] = {
    "bag": BagOfEmbeddings(20, 6),
    "bag with a hidden layer": BagOfEmbeddings(20, 6, hidden=5),
    "TextCNN": TextCNN(20, 6, (2, 3), 4),
    "transformer": TransformerEncoder(20, 8, heads=2, hidden=6),
    "GRU": GRU(5, layers=2, vocabulary=20, width=6),
    "LSTM": LSTM(5, vocabulary=20, width=6),
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(1, 20, shape, generator=torch.Generator().manual_seed(seed))


# ---- padding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_padding_at_the_end_changes_no_feature(name: str) -> None:
    """A text of 5 tokens has the same features in a row of 5 and, with the same parameters, in one of 9."""
    model, x = TEXTS[name], tokens(4, 5)
    short, long = model.trunk((5,)), model.trunk((9,))
    state = {key: value for key, value in short.state_dict().items() if "positions" not in key}
    long.load_state_dict(state, strict=False)
    if "transformer" in name:
        long.positions.weight.data[:5] = short.positions.weight.data
    torch.testing.assert_close(long(F.pad(x, (0, 4))), short(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TEXTS)
def test_padding_has_no_gradient_and_a_text_without_tokens_no_nan(name: str) -> None:
    """The embedding of token 0 never moves; features of a row of padding are finite, as is their gradient."""
    torch.manual_seed(0)  # with others, all that is behind a ReLU may be 0
    trunk, x = TEXTS[name].trunk((6,)), F.pad(tokens(4, 4), (0, 2))
    x[3] = 0
    features = trunk(x)
    assert features.isfinite().all()
    (features * draw(*features.shape)).sum().backward()
    slope = trunk.embed.weight.grad
    assert not slope[0].any()
    assert slope.isfinite().all() and slope[x[0, 0]].any()
    if "bag" in name and "hidden" not in name:
        assert not features[3].any()


def test_the_bag_is_the_mean_of_its_tokens() -> None:
    """Of tokens 3, 3, 5 and two of padding: (2 e_3 + e_5) / 3."""
    trunk: Any = BagOfEmbeddings(9, 4).trunk((5,))
    e = trunk.embed.weight
    found = trunk(torch.tensor([[3, 0, 3, 5, 0]]))
    torch.testing.assert_close(found[0], (2 * e[3] + e[5]) / 3)


def test_text_cnn_by_hand() -> None:
    """Kernel 3 with width 1, on the numbers 2, −1, 4 of three tokens, weights (1, 10, 100): windows, with zeros beyond
    the ends, are 20 − 100, 2 − 10 + 400 and −1 + 40, so their maximum is 392; of the first two tokens alone, −80 and
    2 − 10 = −8, of which ReLU makes 0."""
    trunk: Any = TextCNN(4, width=1, kernels=(3,), channels=1).trunk((4,))
    with torch.no_grad():
        trunk.embed.weight.copy_(torch.tensor([[7.0], [2.0], [-1.0], [4.0]]))
        trunk.convolutions[0].weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
        trunk.convolutions[0].bias.zero_()
    assert trunk(torch.tensor([[1, 2, 3, 0], [1, 2, 0, 0]])).tolist() == [[392.0], [0.0]]


# ---- torch's own layers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [False, True], ids=["signals", "texts"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_recurrences_are_those_of_torch(kind: Any, layers: int, text: bool) -> None:
    """Of each row alone, cut at its last token, by ``nn.GRU`` and ``nn.LSTM``: 1e-6, alone and stacked."""
    model = kind(5, layers=layers, vocabulary=20 if text else 0, width=3)
    shape = (7,) if text else (3, 7)
    trunk: Any = model.trunk(shape)
    own = getattr(nn, kind.__name__)(3, 5, layers, batch_first=True)
    own.load_state_dict(trunk.cells.state_dict())
    x = tokens(4, 7) if text else draw(4, 3, 7)
    lengths = [7, 4, 1, 6]
    if text:
        for row, length in enumerate(lengths):
            x[row, length:] = 0
    expected = []
    for row, length in zip(x, lengths, strict=True):
        read = trunk.embed(row[:length]) if text else row.T
        expected.append(own(read[None])[0][0, -1])
    torch.testing.assert_close(trunk(x), torch.stack(expected), rtol=0, atol=1e-6)
    params = {name: value.detach() for name, value in trunk.named_parameters()}
    with batched_layers():
        stacked = torch.vmap(lambda params, x: functional_call(trunk, params, (x,)))(
            {name: torch.stack([value] * 3) for name, value in params.items()}, torch.stack([x] * 3)
        )
    for one in stacked:
        torch.testing.assert_close(one, torch.stack(expected), rtol=0, atol=1e-6)


def test_a_layer_of_the_encoder_is_that_of_torch() -> None:
    """``nn.TransformerEncoderLayer`` with ``norm_first`` and a mask of padding, on the same weights."""
    model = TransformerEncoder(20, width=8, heads=2, layers=1, hidden=6, per_token=True)
    trunk: Any = model.trunk((5,))
    layer = trunk.layers[0]
    own = nn.TransformerEncoderLayer(8, 2, 6, 0.0, "gelu", batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj_": layer.qkv,
        "self_attn.out_proj.": layer.out,
        "linear1.": layer.up,
        "linear2.": layer.down,
        "norm1.": layer.norm_attention,
        "norm2.": layer.norm_hidden,
    }
    own.load_state_dict(
        {f"{name}{key}": value for name, part in pairs.items() for key, value in part.state_dict().items()}
    )
    x = F.pad(tokens(3, 4), (0, 1))
    x[1, 2:] = 0
    read = trunk.embed(x) + trunk.positions.weight
    expected = trunk.norm(own(read, src_key_padding_mask=x == 0)) * (x != 0)[..., None]
    torch.testing.assert_close(trunk(x), expected.transpose(1, 2), rtol=1e-5, atol=1e-5)


def test_depths_of_resnets() -> None:
    """Convolutions along the path and the head are 8 and 18, without those of skips. torchvision's ResNet-18 has
    11,689,512 parameters; with a first convolution of 3×3 in place of 7×7 (−9,408 + 1,728) and 10 classes in place of
    1,000 (−513,000 + 5,130), it has 11,173,962."""
    for depth in (8, 18):
        trunk = ResNet(depth, width=4).trunk((3, 8, 8))
        path = [name for name, part in trunk.named_modules() if isinstance(part, nn.Conv2d) and "skip" not in name]
        assert len(path) + 1 == depth
    model = ResNet(18, width=64, norm="batch")
    count = sum(
        value.numel() for part in (model.trunk((3, 32, 32)), model.head(512, 10)) for value in part.parameters()
    )
    assert count == 11_173_962


def test_a_block_without_convolutions_on_the_path_is_its_skip() -> None:
    """With the second norm's scale and shift 0, a block is ReLU(x)."""
    trunk: Any = ResNet(8, width=4).trunk((3, 8, 8))
    block = trunk[3]
    nn.init.zeros_(block.norm2.weight)
    x = draw(2, 4, 8, 8)
    assert torch.equal(block(x), x.relu())


# ---- heads for places -----------------------------------------------------------------------------------------------


def test_heads_for_places() -> None:
    """Of features [2, T], [2, H, W]: a matrix at each place, by einsum; of other outputs, of the mean; padding, which
    is zeros, does not count in it."""
    for features, outputs in (((2, 3), (4, 3)), ((2, 3, 5), (4, 3, 5)), ((2, 3, 5), (4, 6, 3, 5))):
        head: Any = places_head("m", features, outputs)
        x = draw(7, *features)
        layer: Any = head if isinstance(head, nn.Conv1d | nn.Conv2d) else head[0]
        weight = layer.weight.flatten(1)
        expected = torch.einsum("kc,bcp->bkp", weight, x.flatten(2)) + layer.bias[:, None]
        torch.testing.assert_close(head(x), expected.reshape(7, *outputs), rtol=1e-5, atol=1e-6)
    head = places_head("m", (2, 3, 5), (3, 5))
    assert head(draw(7, 2, 3, 5)).shape == (7, 3, 5)
    for outputs in (3, (3,), (2, 2)):  # 3 classes are no map of 3 places
        head = places_head("m", (2, 3, 5), outputs)
        x = draw(7, 2, 3, 5)
        torch.testing.assert_close(head(x), head[1](x.mean((2, 3))), rtol=1e-5, atol=1e-6)
    head = places_head("m", (2, 4), 3, padded=True)
    x = draw(1, 2, 4)
    x[..., 2:] = 0
    torch.testing.assert_close(head(x), head[1](x[..., :2].mean(2)), rtol=1e-5, atol=1e-6)
    assert head(torch.zeros(1, 2, 4)).isfinite().all()


def test_a_unet_serves_maps_and_classes_at_once() -> None:
    tasks: Any = {
        "map": DenseClasses(3, (4, 4)),
        "depth": DenseRegression((4, 4)),
        "kind": MultiClass(5),
    }
    found = build(UNet((4, 6)), (1, 4, 4), tasks, 0, False)(draw(3, 1, 4, 4))
    assert {task: tuple(output.shape[1:]) for task, output in found.items()} == {
        "map": (3, 4, 4),
        "depth": (4, 4),
        "kind": (5,),
    }


TAGGERS = (
    TransformerEncoder(20, 8, heads=2, layers=1, hidden=6, per_token=True),
    GRU(8, vocabulary=20, width=6, per_step=True),
    LSTM(8, vocabulary=20, width=6, per_step=True),
)


@pytest.mark.parametrize("model", TAGGERS, ids=lambda model: type(model).__name__)
def test_tokens_and_texts_are_labelled_by_one_trunk(model: Any) -> None:
    """The tag of a token is whether it is below 10, and a text's class that of its first token: a share of 1/2 is
    right by luck. Tags of padding are -100."""
    rng, clients = np.random.default_rng(0), {}
    for k in range(2):
        x = rng.integers(1, 20, (60, 5))
        x[np.arange(5) >= rng.integers(1, 6, (len(x), 1))] = 0
        clients[k] = (x, {"tags": np.where(x > 0, x < 10, -100), "first": (x[:, 0] < 10) * 1})
    data = from_arrays(clients, tasks={"tags": SequenceLabels(2, 5, padding=-100), "first": Binary()})
    # Short rounds, of which all but the first are replays of a graph: of five rounds of three epochs none would be.
    given = {"algorithm": FedAvg(lr=0.5, epochs=1), "rounds": 15, "evaluate_every": 15, "batch_size": 8}
    found = run(Experiment(data=data, model=model, runtime="InProcess", **given)).summary
    assert found["tasks"]["tags"]["value"] > 0.75, found["tasks"]


def test_a_unet_learns_a_map() -> None:
    """The class of a pixel is the sign of the mean of its neighbourhood of 3×3: no 1×1 layer sees it."""
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((16, 1, 4, 4)).astype(np.float32) for _ in range(2)]
    around = [F.avg_pool2d(torch.tensor(own), 3, 1, 1).numpy()[:, 0] for own in x]
    data = from_arrays(
        {k: (own, {"sign": (mean > 0) * 2}) for k, (own, mean) in enumerate(zip(x, around, strict=True))},
        tasks={"sign": Map()},
    )
    given = {"algorithm": FedPer(lr=0.3, epochs=1), "rounds": 40, "evaluate_every": 40, "batch_size": 8}
    found = run(Experiment(data=data, model=UNet((8, 8)), runtime="InProcess", **given))
    assert found.summary["mean_score"] > 0.8


# ---- runs -----------------------------------------------------------------------------------------------------------


def texts(high: int = 20) -> Any:
    """Three clients of 8 to 12 texts of 1 to 6 tokens; the kind is whether a token below 10 comes first."""
    rng, clients = np.random.default_rng(0), {}
    for k in range(3):
        x = rng.integers(1, high, (8 + 2 * k, 6))
        x[np.arange(6) >= rng.integers(1, 7, (len(x), 1))] = 0
        clients[k] = (x, {"first": (x[:, 0] < 10) * 1, "third": x[:, 0] % 3})
    return from_arrays(clients, tasks={"first": Binary(), "third": MultiClass(3)})


def arrays(*shape: int) -> Any:
    rng = np.random.default_rng(0)
    return from_arrays(
        {k: (rng.standard_normal((8 + 2 * k, *shape)), {"third": np.arange(8 + 2 * k) % 3}) for k in range(3)}
    )


RUNS: dict[str, tuple[Any, Any]] = {
    **{name: (model, texts) for name, model in TEXTS.items()},
    "TextCNN with dropout": (TextCNN(20, 6, (2, 3), 4, dropout=0.5), texts),
    "transformer with dropout": (TransformerEncoder(20, 8, heads=2, hidden=6, dropout=0.1), texts),
    "GRU of signals": (GRU(5), lambda: arrays(2, 6)),
    "LSTM of signals": (LSTM(5, layers=2), lambda: arrays(2, 6)),
    "ResNet": (ResNet(width=4), lambda: arrays(1, 8, 8)),
    "ResNet with BatchNorm": (ResNet(width=4, norm="batch"), lambda: arrays(1, 8, 8)),
    "UNet": (UNet((3, 4)), lambda: arrays(1, 5, 4)),
}


@pytest.mark.parametrize("name", RUNS)
def test_loop_and_vmap_agree(name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three rounds of one batch a client, 1e-4; no client runs alone, and the last round is a replay of a graph;
    ledgers are equal. All of FedAvg's model is the server's, statistics included."""
    monkeypatch.setattr(waits, "WAIT_SMALL", 0)
    model, data = RUNS[name]
    given = {"algorithm": FedAvg(lr=0.05, epochs=1), "model": model, "data": data(), "rounds": 3, "batch_size": 0}
    results = []
    with caplog.at_level(logging.DEBUG, "fedmtl.engines"):
        for engine in ("Loop", "VMap(chunk=4)"):
            chosen = Experiment(name="t", engine=engine, runtime="InProcess", **given)
            results.append(run(chosen))
    loop, vmap = results
    assert furthest({0: vmap.state}, {0: loop.state}) <= 1e-4 and loop.ledger == vmap.ledger
    assert [line for line in caplog.messages if "client by client" in line or "not replayed" in line] == []


@pytest.mark.parametrize("name", TEXTS)
def test_tokens_beyond_the_vocabulary_are_refused(name: str) -> None:
    """Before a round, in one line that has the vocabulary to take, the largest token plus one."""
    with pytest.raises(
        ValueError, match=r"inputs from 0 to 29: the trunk fails .*30 rows, as vocabulary=30 does"
    ) as error:
        run(Experiment(name="t", data=texts(30), model=TEXTS[name], rounds=1, runtime="InProcess"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (
            TextCNN(20, kernels=(2,)),
            lambda: arrays(6),
            "tokens are whole numbers: give every client's x an integer type",
        ),
        (CNN(), texts, r"CNN takes images of shape \(channels, height, width\), got \(6,\); try MLP"),
        (GRU(), texts, r"GRU takes signals .*try GRU\(vocabulary=…\) for texts"),
        (TextCNN(20, kernels=(7,)), texts, "a kernel of 7 tokens, which is longer than texts of 6"),
        (BagOfEmbeddings(20), lambda: arrays(1, 8, 8), "try CNN or ResNet for images"),
    ],
)
def test_inputs_of_another_kind_are_refused(model: Any, data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        run(Experiment(name="t", data=data(), model=model, rounds=1, runtime="InProcess"))
    assert "\n" not in str(error.value)


def test_tokens_of_a_table_are_refused_by_a_model_of_numbers() -> None:
    """Each word is in all 12 rows, so there are 3 words beside padding and unknown ones."""
    rows = {"site": ["a", "b"] * 6, "text": ["good bad plain"] * 12, "sick": [0, 1, 1, 0] * 3}
    data = from_frame(pd.DataFrame(rows), client="site", tasks=["sick"], text="text")
    given = {"data": data, "rounds": 1, "runtime": "InProcess"}
    message = r"MLP\(hidden=\(64,\)\) takes numbers, .* column 'text', .*BagOfEmbeddings\(vocabulary=5\)"
    with pytest.raises(ValueError, match=message):
        run(Experiment(model=MLP(), **given))
    assert run(Experiment(model=BagOfEmbeddings(5), **given)).summary["mean_score"] >= 0


def test_a_bag_learns_from_tokens_and_not_from_their_numbers() -> None:
    """Whether a text holds one of four random tokens of 60: a bag learns it, and a layer on token numbers does not."""
    rng = np.random.default_rng(0)
    hot = rng.choice(np.arange(1, 60), 4, replace=False)
    clients = {}
    for k in range(4):
        x = rng.integers(1, 60, (150, 8))
        clients[k] = (x, {"holds": np.isin(x, hot).any(1) * 1})
    data = from_arrays(clients, tasks={"holds": Binary()})
    given = {"data": data, "rounds": 40, "evaluate_every": 40, "batch_size": 16, "runtime": "InProcess"}
    scores = [
        run(Experiment(model=model, algorithm=FedAvg(lr=lr, epochs=1), **given)).summary["mean_score"]
        for model, lr in ((BagOfEmbeddings(60, 16), 1.0), (MLP((16,)), 1e-3))
    ]
    assert scores[0] > 0.9 and scores[1] < 0.8
