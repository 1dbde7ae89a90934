"""Digits: every image once, labels that fit the image, tasks that everybody shares in."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fedmtl.data import Digits, Federation
from fedmtl.data.digits import SEGMENTS, TASKS, labels_of

DISPLAY = [0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07, 0x7F, 0x6F]
"""The codes by which a display driver shows 0 to 9: bit 0 is segment a, bit 6 is segment g."""


def images(federation: Federation) -> list[bytes]:
    return [image.tobytes() for data in federation.clients.values() for split in data for image in split.x]


@pytest.fixture(scope="module")
def federation() -> Federation:
    return Digits().load(0)


@pytest.mark.parametrize("dataset", [Digits(), Digits(alpha=0.1), Digits(clients=33, alpha=float("inf"))], ids=repr)
def test_every_image_is_somebodys_once(dataset: Digits) -> None:
    raw: Any = load_digits()
    expected = Counter(image.tobytes() for image in (raw.data / 16).astype(np.float32))
    assert Counter(images(dataset.load(0))) == expected


def test_images_are_grey_values_from_0_to_1(federation: Federation) -> None:
    x = np.concatenate([data.train.x for data in federation.clients.values()])
    assert federation.input_shape == (1, 8, 8)
    assert x.min() == 0 and x.max() == 1


def test_segments_are_those_of_a_display() -> None:
    shown = labels_of(np.arange(10))["segments"]
    bits = [[code >> segment & 1 for segment in range(7)] for code in DISPLAY]
    assert shown.tolist() == bits
    assert len(set(SEGMENTS)) == 10  # No two digits look alike.


def test_labels_fit_the_image(federation: Federation) -> None:
    """Looked up by the image's bytes in scikit-learn's copy, in which no image occurs under two digits."""
    raw: Any = load_digits()
    digit_of = {
        image.tobytes(): int(d) for image, d in zip((raw.data / 16).astype(np.float32), raw.target, strict=True)
    }
    seen = set()
    for data in federation.clients.values():
        for split in data:
            digit = np.array([digit_of[image.tobytes()] for image in split.x])
            expected = {"digit": digit, "parity": digit % 2 == 1, "value": digit}
            expected["segments"] = np.array([[DISPLAY[d] >> segment & 1 for segment in range(7)] for d in digit])
            for name, y in split.y.items():
                np.testing.assert_array_equal(y, expected[name])
                seen.add(name)
    assert seen == {"digit", "parity", "value", "segments"}


def test_value_is_standardised_by_an_evenly_drawn_digit() -> None:
    task = TASKS["value"]
    assert (task.mean, task.std) == pytest.approx((np.arange(10).mean(), np.arange(10).std()))  # type: ignore[attr-defined]


@pytest.mark.parametrize("clients", [*range(3, 24), 40])
@pytest.mark.parametrize("per_client", [0, 1, 2, 3, 4])
def test_tasks_are_shared_out_evenly(clients: int, per_client: int) -> None:
    if clients == 3 and per_client == 1:
        return  # Three owners for four tasks: an error, tested below.
    for seed in range(3):
        owned = Digits(clients=clients, tasks_per_client=per_client)._owned(seed)
        owners = Counter(name for tasks in owned for name in tasks)
        assert set(owners) == set(TASKS) and max(owners.values()) - min(owners.values()) <= 1
        assert min(owners.values()) >= (clients // 4 if per_client == 1 else clients / 4)
        assert all(tasks == tuple(sorted(set(tasks))) for tasks in owned)
        if per_client:
            assert {len(tasks) for tasks in owned} == {per_client}


def test_the_default_is_a_mixture() -> None:
    """Mostly one or two tasks, some with three or four, and not the same sets for every seed."""
    sizes = Counter(len(tasks) for tasks in Digits()._owned(0))
    assert set(sizes) == {1, 2, 3, 4} and sizes[1] + sizes[2] >= 15
    assert Digits()._owned(0) != Digits()._owned(1)


def test_sizes(federation: Federation) -> None:
    """At least min_size images a client, a quarter of them tested on, to the nearest whole image."""
    for data in federation.clients.values():
        total = len(data.train.x) + len(data.test.x)
        assert total >= 8 and abs(len(data.test.x) - total / 4) <= 0.5


def test_a_small_alpha_makes_clients_unlike() -> None:
    """The largest class's part of a client's images, on average: near 1/10 when even, far more when not."""

    def largest(alpha: float) -> float:
        clients = Digits(alpha=alpha, tasks_per_client=4).load(0).clients.values()
        return float(np.mean([np.bincount(d.train.y["digit"].astype(int)).max() / len(d.train.x) for d in clients]))

    assert largest(0.1) > 0.5 > 0.3 > largest(float("inf"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clients": 0}, "enough for 1 to 224 clients with at least 8 each, got clients=0"),
        ({"clients": 225}, "enough for 1 to 224 clients with at least 8 each, got clients=225"),
        ({"alpha": 0.0}, "positive alpha, or inf .* got alpha=0.0"),
        ({"alpha": float("nan")}, "positive alpha, or inf .* got alpha=nan"),
        ({"test_fraction": 0.0}, r"fraction in \(0, 1\) .* got test_fraction=0.0"),
        ({"test_fraction": 1.0}, r"fraction in \(0, 1\) .* got test_fraction=1.0"),
        ({"min_size": 1}, "got min_size=1; use 2"),
        ({"tasks_per_client": 5}, "has 4 tasks, got tasks_per_client=5"),
        ({"tasks_per_client": -1}, "has 4 tasks, got tasks_per_client=-1"),
        ({"clients": 3, "tasks_per_client": 1}, "without an owner; use tasks_per_client=4 or 4 clients"),
        ({"clients": 2}, "without an owner"),
        ({"classes": 11}, "has 10 digits, got classes=11"),
        ({"classes": -1}, "has 10 digits, got classes=-1"),
        ({"clients": 4, "classes": 2}, "leaves a digit without an owner; use classes=3 or more"),
        ({"tasks": ("digit", "colour")}, r"each once, got tasks=\['digit', 'colour'\]"),
        ({"tasks": ("digit", "digit")}, "each once"),
        ({"tasks": ("digit",), "tasks_per_client": 2}, "has 1 tasks, got tasks_per_client=2"),
    ],
)
def test_what_it_refuses(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Digits(**fields)


def test_a_partition_that_no_draw_gives() -> None:
    with pytest.raises(ValueError, match="alpha=0.01 gave each of 100 clients 8 .* raise alpha"):
        Digits(clients=100, alpha=0.01).load(0)


@pytest.mark.parametrize("classes", [1, 2, 3, 7, 10])
def test_clients_of_few_digits_are_of_one_size(classes: int) -> None:
    """Digits occur 174 to 183 times, so each of the m = 3 · classes owners of a digit has ⌊174/m⌋ to ⌈183/m⌉ of it.

    A client has exactly ``classes`` such parts, and each image is used once.
    """
    least, most = (classes * (174 // (3 * classes)), classes * -(-183 // (3 * classes)))
    federation = Digits(clients=30, classes=classes, tasks=("digit",)).load(0)
    for data in federation.clients.values():
        assert set(data.train.y) == {"digit"}
        digits = np.concatenate([data.train.y["digit"], data.test.y["digit"]])
        assert len(np.unique(digits)) == classes
        assert least <= len(digits) <= most
    assert sum(len(split.x) for data in federation.clients.values() for split in data) == 1797
    assert set(federation.tasks) == {"digit"}


def test_another_seed_gives_clients_other_digits() -> None:
    def first(seed: int) -> list[float]:
        return sorted(set(Digits(classes=2, tasks=("digit",)).load(seed).clients[0].train.y["digit"].tolist()))

    assert len({tuple(first(seed)) for seed in range(5)}) > 1
