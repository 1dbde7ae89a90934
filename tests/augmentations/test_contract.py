"""What the protocol says of every augmentation, asked of every registered one; then what each computes."""

import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch

import fedmtl.augmentations
from fedmtl.augmentations import Jitter, RandomFlip, RandomScale, RandomShift, TimeShift, WordDropout
from fedmtl.core.context import context_of
from fedmtl.registry.components import REGISTRY, make
from fedmtl.registry.tables import describe

ALL = [make("augmentation", name) for name in REGISTRY["augmentation"]]
each_augmentation = pytest.mark.parametrize("augmentation", ALL, ids=repr)
SHAPES = [(3, 9, 8), (5, 20), (30,)]
CTX = context_of(seed=3, round=1, client=7)


def fits(augmentation: Any, shape: tuple[int, ...], whole: bool) -> bool:
    try:
        augmentation.check(shape, whole)
    except ValueError:
        return False
    return True


def inputs(augmentation: Any) -> torch.Tensor:
    """Six examples of the first shape that it takes."""
    shape, whole = next((s, w) for s in SHAPES for w in (False, True) if fits(augmentation, s, w))
    draw = torch.Generator().manual_seed(0)
    if whole:
        return torch.randint(2, 50, (6, *shape), generator=draw)
    return torch.randn(6, *shape, generator=draw)


@each_augmentation
def test_shape_and_type_are_kept_and_the_inputs_are_left_alone(augmentation: Any) -> None:
    x = inputs(augmentation)
    before = x.clone()
    found = augmentation.augment(x, CTX)
    assert found.shape == x.shape and found.dtype == x.dtype and torch.equal(x, before)
    assert not torch.equal(found, x) and bool(torch.isfinite(found.float()).all())


@each_augmentation
def test_the_context_decides_and_nothing_else(augmentation: Any) -> None:
    x = inputs(augmentation)
    found = augmentation.augment(x, CTX)
    torch.manual_seed(1)
    assert torch.equal(augmentation.augment(x, CTX), found)
    for other in (context_of(4, 1, 7), context_of(3, 2, 7), context_of(3, 1, 8), CTX.fold(1)):
        assert not torch.equal(augmentation.augment(x, other), found)


@each_augmentation
def test_padding_changes_no_draw_of_a_real_example(augmentation: Any) -> None:
    x = inputs(augmentation)
    padded = torch.cat([x, torch.zeros_like(x[:3])])
    assert torch.equal(augmentation.augment(padded, CTX)[:6], augmentation.augment(x, CTX))


@each_augmentation
def test_stacked_clients_have_the_bits_of_single_ones(augmentation: Any) -> None:
    x = inputs(augmentation)
    clients = torch.stack([x, x.flip(0), x])
    keys = torch.stack([context_of(3, 1, client).own_key() for client in range(3)])

    def one(x: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return augmentation.augment(x, replace(CTX, key=key, origin=None))

    stacked = torch.vmap(one)(clients, keys)
    for client in range(3):
        assert torch.equal(stacked[client], augmentation.augment(clients[client], context_of(3, 1, client)))


@each_augmentation
def test_it_is_a_value(augmentation: Any) -> None:
    copies = [pickle.loads(pickle.dumps(augmentation)), eval(repr(augmentation), dict(vars(fedmtl.augmentations)))]
    copies += [make("augmentation", repr(augmentation)), make("augmentation", describe("augmentation", augmentation))]
    assert all(copy == augmentation and hash(copy) == hash(augmentation) for copy in copies)


# Each


def test_images_are_mirrored_or_left() -> None:
    x = torch.arange(2000.0).reshape(1000, 1, 2)
    found = RandomFlip(0.25).augment(x, CTX)
    mirrored = found[:, 0, 0] == x[:, 0, 1]
    assert torch.equal(found[mirrored], x[mirrored].flip(-1)) and torch.equal(found[~mirrored], x[~mirrored])
    assert abs(float(mirrored.float().mean()) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 1000)
    assert torch.equal(RandomFlip(0.0).augment(x, CTX), x)


def test_images_are_crops_of_padded_ones() -> None:
    """Each is one of the 25 crops of the image with two zeros around, and all of them occur."""
    image = torch.arange(1.0, 13.0).reshape(1, 3, 4)
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
    crops = [padded[:, y : y + 3, x : x + 4] for y in range(5) for x in range(5)]
    found = RandomShift(2).augment(image.expand(500, 1, 3, 4), CTX)
    which = [[torch.equal(each, crop) for crop in crops].index(True) for each in found]
    assert set(which) == set(range(25))
    assert torch.equal(RandomShift(0).augment(image[None], CTX), image[None])


def test_windows_are_moved_with_their_edges_repeated() -> None:
    window = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    moved = {tuple(each.flatten().tolist()) for each in TimeShift(1).augment(window.expand(100, 2, 3), CTX)}
    assert moved == {(1, 2, 3, 4, 5, 6), (1, 1, 2, 4, 4, 5), (2, 3, 3, 5, 6, 6)}


def test_noise_and_scales_have_their_deviation() -> None:
    """Means of n draws of N(0, σ²) are within 5 σ / √n, deviations within 5 σ / √(2n)."""
    noise = Jitter(0.5).augment(torch.zeros(50, 4, 25), CTX)
    assert abs(float(noise.mean())) < 5 * 0.5 / math.sqrt(5000)
    assert abs(float(noise.std()) - 0.5) < 5 * 0.5 / math.sqrt(10_000)
    scales = RandomScale(0.2).augment(torch.ones(500, 4, 3), CTX)
    assert bool((scales == scales[..., :1]).all())  # of a channel
    assert abs(float(scales[..., 0].std()) - 0.2) < 5 * 0.2 / math.sqrt(4000)
    assert RandomScale(0.2).augment(torch.ones(5, 4), CTX).unique(dim=1).shape == (5, 1)


def test_words_become_unknown_and_padding_stays() -> None:
    x = torch.tensor([[7, 8, 9, 0, 0]]).expand(1000, 5)
    found = WordDropout(0.3).augment(x, CTX)
    assert bool((found[:, 3:] == 0).all()) and set(found[:, 0].tolist()) == {1, 7}
    assert abs(float((found[:, :3] == 1).float().mean()) - 0.3) < 5 * math.sqrt(0.21 / 3000)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: RandomFlip(1.5), "RandomFlip: p is a number from 0 to 1, got 1.5"),
        (lambda: Jitter(-1.0), "Jitter: std is a number from 0"),
        (lambda: RandomShift(-1), "RandomShift: most"),
        (lambda: RandomShift(8).check((1, 8, 8), False), "moves images of 8 × 8 pixels out of sight; take most=1"),
        (lambda: TimeShift(20).check((3, 20), False), "moves windows of 20 steps out of sight; take most=2"),
        (lambda: RandomFlip().check((12,), False), r"takes images .*, and an example has the shape \(12,\)"),
        (lambda: Jitter().check((12,), True), "changes numbers, and inputs are tokens; take WordDropout"),
        (lambda: WordDropout().check((12,), False), "changes tokens, and inputs are numbers; take Jitter"),
    ],
)
def test_bad_settings_and_inputs(make_it: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_it()
