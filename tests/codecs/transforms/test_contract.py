"""One battery over all transforms: claims are measured, rows are as if alone, inputs are left as they were."""

import pickle
from typing import Any

import numpy as np
import pytest

import fedmtl.codecs.transforms as transforms
from fedmtl.registry.components import REGISTRY, make
from fedmtl.registry.tables import describe

ALL = [make("transform", name) for name in REGISTRY["transform"]]

pytestmark = pytest.mark.parametrize("transform", ALL, ids=repr)


def vectors(scale: float = 1.0) -> Any:
    return (scale * np.random.default_rng(0).standard_normal((4, 300))).astype(np.float32)


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e3])
def test_rows_are_as_if_alone_and_inputs_are_left_alone(transform: Any, scale: float) -> None:
    x = np.zeros((4, 308), np.float32)[:, 8:]  # rows apart in memory, as behind headers
    x[:] = vectors(scale)
    x.setflags(write=False)
    before = x.copy()
    found = transform.apply(x, np.random.default_rng)
    undone = transform.undo(found)
    assert found.shape == undone.shape == x.shape and found.dtype == undone.dtype == np.float32
    assert np.array_equal(x, before)
    for k in range(4):
        alone = transform.apply(x[k : k + 1], lambda _, k=k: np.random.default_rng(k))
        assert alone.tobytes() == found[k : k + 1].tobytes()
        assert transform.undo(alone).tobytes() == undone[k : k + 1].tobytes()


def test_equal_generators_give_equal_bits(transform: Any) -> None:
    one, other = (transform.apply(vectors(), np.random.default_rng) for _ in range(2))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_claims_are_as_measured(transform: Any, scale: float) -> None:
    """Over 400 generators: the mean of unbiased ones is within 6 standard errors of x; lossless ones have no error."""
    x = vectors(scale)[:1]
    found = np.stack([
        transform.undo(transform.apply(x, lambda _, seed=seed: np.random.default_rng([5, seed])))[0]
        for seed in range(400)
    ]).astype(np.float64)  # fmt: skip
    error, spread = np.abs(found.mean(0) - x[0]), found.std(0) / 20
    if transform.traits.lossless:
        assert not error.any()
    if transform.traits.unbiased:
        assert (error <= 6 * spread + 1e-6 * np.abs(x[0])).all()
    elif scale > 1:
        assert (error > 6 * spread + 1e-6).any()
    if transform.traits.bounds_norm:
        long = [transform.apply(vectors(s)[:1], np.random.default_rng)[0] for s in (1e3, 1e4, 1e5)]
        norms = np.linalg.norm(np.stack(long).astype(np.float64), axis=1)
        assert norms.max() <= norms.min() * (1 + 1e-6)


def test_is_a_value(transform: Any) -> None:
    copies = [pickle.loads(pickle.dumps(transform)), eval(repr(transform), dict(vars(transforms)))]
    copies += [make("transform", repr(transform)), make("transform", describe("transform", transform))]
    assert all(copy == transform and hash(copy) == hash(transform) for copy in copies)
    assert make("codec", [transform]).parts[0] == transform
