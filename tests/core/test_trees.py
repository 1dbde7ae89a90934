"""Trees taken apart and put together, and means that can be worked out by hand."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.core.trees import (
    all_finite,
    select,
    sha256,
    sq_distance,
    tree_leaves,
    tree_map,
    tree_structure,
    tree_unflatten,
    weighted_mean,
)


class Pair(NamedTuple):
    left: Any
    right: Any


def any_bits(count: int, seed: int = 0) -> Tensor:
    """Floats of random bits, so of all magnitudes, subnormal ones and both zeros among them; all of them finite."""
    bits = np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)
    bits[:4] = [0, 1 << 31, 1, 0x7F7FFFFF]  # 0, -0, the smallest and the largest
    values = bits.view(np.float32)
    return torch.from_numpy(np.where(np.isfinite(values), values, np.float32(1)))


def test_select_splits_by_the_start_of_the_name() -> None:
    params = {"trunk.w": torch.zeros(1), "head.a.w": torch.ones(1), "header": torch.ones(2), "a.head.": torch.ones(3)}
    assert list(select(params, "head.")) == ["head.a.w"]
    assert select(params, "head.")["head.a.w"] is params["head.a.w"]
    assert select(params, "tail.") == {}


def test_sq_distance() -> None:
    """(1 − 4)² + (2 − 0)² + (3 − 3)² = 13, and its gradient in a is 2 (a − b): −6, 4, 0."""
    a = {"u": torch.tensor([1.0, 2.0], requires_grad=True), "v": torch.tensor([[3.0]], requires_grad=True)}
    b = {"v": torch.tensor([[3.0]]), "u": torch.tensor([4.0, 0.0])}
    distance = sq_distance(a, b)
    assert distance.shape == () and distance == 13
    slopes = torch.autograd.grad(distance, [a["u"], a["v"]])
    assert slopes[0].tolist() == [-6.0, 4.0] and slopes[1].tolist() == [[0.0]]


def test_sq_distance_wants_equal_names() -> None:
    with pytest.raises(ValueError, match=r"only one side has \['u', 'w'\]"):
        sq_distance({"u": torch.zeros(1), "v": torch.zeros(1)}, {"v": torch.zeros(1), "w": torch.zeros(1)})


def test_weighted_mean_by_hand() -> None:
    """(1·[1, 2] + 3·[5, −2]) / 4 = [4, −1]."""
    mean = weighted_mean([({"w": torch.tensor([1.0, 2.0])}, 1), ({"w": torch.tensor([5.0, -2.0])}, 3.0)])
    assert mean["w"].tolist() == [4.0, -1.0] and mean["w"].dtype == torch.float32


@pytest.mark.parametrize("weight", [1, 3, 7.0, 0.1, 12345.0, 2**24 + 1, 1e-3, torch.tensor(49.0)])
def test_weighted_mean_of_one_is_that_one_bit_for_bit(weight: Any) -> None:
    value = any_bits(4096)
    mean = weighted_mean([({"w": value}, weight)])["w"]
    assert mean.dtype == torch.float32
    assert mean.numpy().tobytes() == value.numpy().tobytes()


def test_weighted_mean_is_the_exact_mean_rounded_once() -> None:
    """Numpy's mean in float64, where n w is exact, to the last bit of a float32; in float32 it would be 1e-7 off."""
    draw = np.random.default_rng(0)
    values, weights = draw.standard_normal((50, 200)).astype(np.float32), draw.integers(1, 1000, 50)
    expected = (values.astype(np.float64) * weights[:, None]).sum(0) / weights.sum()
    mean = weighted_mean(({"w": torch.from_numpy(v)}, float(n)) for v, n in zip(values, weights, strict=True))
    np.testing.assert_allclose(mean["w"].numpy(), expected.astype(np.float32), rtol=2.0**-23, atol=0)


def test_weighted_mean_does_not_know_the_order() -> None:
    """Save a rare last bit: of 2000 numbers, fewer than 20 may differ, and by one unit in the last place."""
    draw = np.random.default_rng(1)
    pairs = [({"w": torch.from_numpy(draw.standard_normal(2000).astype(np.float32))}, float(n)) for n in range(1, 30)]
    forward, backward = weighted_mean(pairs)["w"].numpy(), weighted_mean(pairs[::-1])["w"].numpy()
    assert (forward != backward).sum() < 20
    np.testing.assert_array_max_ulp(forward, backward, maxulp=1)


def test_weighted_mean_is_over_those_that_have_the_name() -> None:
    """a: (1·2 + 3·6) / 4 = 5; b: 7 alone; c: (3·0 + 2·5) / 5 = 2."""
    pairs = [
        ({"a": torch.tensor(2.0), "b": torch.tensor(7.0)}, 1.0),
        ({"a": torch.tensor(6.0), "c": torch.tensor(0.0)}, 3.0),
        ({"c": torch.tensor(5.0)}, 2.0),
    ]
    assert {name: value.item() for name, value in weighted_mean(pairs).items()} == {"a": 5.0, "b": 7.0, "c": 2.0}


def test_weighted_mean_changes_nothing_in_place_and_streams() -> None:
    """In float64 too, where no copy is needed for the sums' dtype. A generator is read once."""
    values = [torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([3.0, 4.0], dtype=torch.float64)]
    mean = weighted_mean(({"w": value}, 1.0) for value in values)
    assert mean["w"].tolist() == [2.0, 3.0] and mean["w"].dtype == torch.float64
    assert [value.tolist() for value in values] == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf")])
def test_weighted_mean_refuses_a_weight_that_is_no_number_of_examples(weight: float) -> None:
    good = ({"w": torch.zeros(1)}, 2.0)
    with pytest.raises(ValueError, match=f"positive and finite, got {float(weight)}"):
        weighted_mean([good, ({"w": torch.zeros(1)}, weight)])


def test_weighted_mean_of_nobody() -> None:
    with pytest.raises(ValueError, match="at least one client"):
        weighted_mean([])


TREES = [
    pytest.param({"b": 1, "a": {"z": 2, "y": 3}}, [3, 2, 1], id="dicts, in the order of their keys"),
    pytest.param((1, (2, 3), ()), [1, 2, 3], id="tuples"),
    pytest.param([1, [2], 3], [1, 2, 3], id="lists"),
    pytest.param(Pair(1, Pair(None, 2)), [1, 2], id="NamedTuples"),
    pytest.param(None, [], id="None"),
    pytest.param({}, [], id="nothing"),
    pytest.param(7, [7], id="a leaf"),
    pytest.param({"s": Pair({"w": 1}, None), "r": (None, [2, {}])}, [2, 1], id="all of them"),
]


@pytest.mark.parametrize(("tree", "expected"), TREES)
def test_leaves_and_back(tree: Any, expected: list[int]) -> None:
    assert tree_leaves(tree) == expected
    again = tree_unflatten(tree, expected)
    assert again == tree and type(again) is type(tree)
    doubled = tree_unflatten(tree, [2 * leaf for leaf in expected])
    assert tree_leaves(doubled) == [2 * leaf for leaf in expected]
    assert tree_map(lambda leaf: 2 * leaf, tree) == doubled


def test_rebuild_keeps_types_and_the_order_of_keys() -> None:
    tree = {"b": Pair([1], (2,)), "a": None}
    again = tree_unflatten(tree, ["x", "y"])
    assert list(again) == ["b", "a"]
    assert isinstance(again["b"], Pair) and again == {"b": Pair(["x"], ("y",)), "a": None}
    assert tree == {"b": Pair([1], (2,)), "a": None}


@pytest.mark.parametrize(("count", "word"), [(0, "fewer"), (1, "fewer"), (3, "more"), (9, "more")])
def test_rebuild_counts(count: int, word: str) -> None:
    with pytest.raises(ValueError, match=f"has 2 leaves, got {word}"):
        tree_unflatten({"a": 1, "b": Pair(2, None)}, range(count))


def test_structure_is_a_key() -> None:
    """Hashable, blind to values and to the order of keys; and it tells apart what cannot be stacked."""
    tree = {"a": torch.zeros(2, 3), "b": Pair(None, torch.zeros(()))}
    same = {"b": Pair(None, torch.ones(())), "a": torch.ones(2, 3)}
    assert tree_structure(tree) == tree_structure(same) and hash(tree_structure(tree)) == hash(tree_structure(same))
    others = [
        {"a": torch.zeros(3, 2), "b": Pair(None, torch.zeros(()))},  # a shape
        {"a": torch.zeros(2, 3, dtype=torch.float64), "b": Pair(None, torch.zeros(()))},  # a dtype
        {"a": torch.zeros(2, 3), "c": Pair(None, torch.zeros(()))},  # a key
        {"a": torch.zeros(2, 3), "b": (None, torch.zeros(()))},  # a type
        {"a": torch.zeros(2, 3), "b": Pair(torch.zeros(()), None)},  # a place
        {"a": torch.zeros(2, 3), "b": Pair(torch.zeros(()), torch.zeros(()))},  # a leaf more
        {"a": torch.zeros(2, 3)},
        None,
    ]
    assert len({tree_structure(other) for other in [tree, *others]}) == len(others) + 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_all_finite(bad: float) -> None:
    good = {"a": torch.ones(3), "n": np.ones(2), "i": torch.tensor([2**40]), "k": 3, "none": None, "f": 0.5}
    assert all_finite(good) and all_finite(None)
    for spoilt in (torch.tensor([1.0, bad]), np.array([1.0, bad], np.float32), bad):
        assert not all_finite({**good, "z": spoilt})


def test_sha256_is_of_values_and_structure() -> None:
    tree = {"w": torch.tensor([1.0, 2.0, 3.0]), "n": Pair(np.arange(3), None)}
    assert sha256(tree) == sha256({"n": Pair(np.arange(3), None), "w": torch.tensor([1.0, 2.0, 3.0])})
    assert sha256(tree) != sha256({**tree, "n": (np.arange(3), None)})
    assert sha256(tree) != sha256({**tree, "w": torch.tensor([[1.0, 2.0, 3.0]])})
    assert sha256({"a": torch.zeros(1), "b": torch.ones(1)}) != sha256({"a": torch.ones(1), "b": torch.zeros(1)})


@pytest.mark.parametrize("bit", [0, 7, 22, 23, 30, 31])
def test_sha256_changes_with_one_bit(bit: int) -> None:
    """Each kind of bit of a float: mantissa, exponent, and the sign of a zero."""
    value = torch.zeros(5)
    other = value.numpy().copy()
    other.view(np.uint32)[3] ^= np.uint32(1 << bit)
    assert sha256({"w": value}) != sha256({"w": torch.from_numpy(other)})


def test_sha256_does_not_see_how_the_bits_lie_in_memory() -> None:
    value = torch.arange(6.0).reshape(2, 3)
    assert sha256(value.T) == sha256(value.T.contiguous()) != sha256(value)
    assert sha256(value) == sha256(value.clone().requires_grad_())
