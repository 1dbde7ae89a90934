"""Contexts: draws against published numbers and another implementation, and the same bits however they are made."""

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.core.context import NO_CONTEXT, Context, NoContext, context_of, context_rows, philox
from fedmtl.core.random import SERVER
from fedmtl.verify import noise


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_has_its_published_numbers(counter: str, key: str, expected: str) -> None:
    """The lines ``philox4x32 10`` of Random123's kat_vectors: zeros, ones, and digits of π."""
    assert philox(torch.tensor(words(counter)), torch.tensor(words(key))).tolist() == words(expected)
    columns = torch.tensor([words(counter)] * 3).T
    assert philox(columns, torch.tensor(words(key))).T.tolist() == [words(expected)] * 3
    assert list(noise.philox(tuple(words(counter)), tuple(words(key)))) == words(expected)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_normals_are_those_of_another_implementation(seed: int) -> None:
    """``fedmtl.verify.noise``, in whole numbers of Python and the standard library's quantiles."""
    found = context_of(seed).fold("noise").fold(7).normal(9)
    np.testing.assert_allclose(found.numpy(), noise.server_normals(seed, ("noise", 7), 9), rtol=2e-7)


def drawn(ctx: Context) -> list[Tensor]:
    return [
        ctx.normal((3, 5)),
        ctx.fold("a").fold(2).uniform(7),
        ctx.fold(ctx.round).bernoulli(0.3, 9),
        ctx.fold("b").fold(torch.tensor(4)).fold("c").uniform(),
        ctx.round,
    ]


def test_a_stack_has_the_bits_of_each_client() -> None:
    """Under vmap over three clients, one of whom has the largest id, in round 5, against contexts of one client."""
    clients = np.array([0, 7, SERVER - 1])
    together = torch.vmap(lambda step, key: tuple(drawn(Context(step, key))))(*context_rows(3, 5, clients))
    for k, client in enumerate(clients.tolist()):
        for stack, one in zip(together, drawn(context_of(3, 5, client)), strict=True):
            assert torch.equal(stack[k], one)


def test_every_part_of_a_key_counts() -> None:
    base = context_of(1, 2, 3)
    others = [
        context_of(2, 2, 3), context_of(1 + 2**32, 2, 3), context_of(1, 3, 3), context_of(1, 2, 4), context_of(2, 1, 3),
        base.fold("a"), base.fold("b"), base.fold(0), base.fold("0"), base.fold("a").fold("b"), base.fold("ab"),
        base.fold("b").fold("a"), base.fold(torch.tensor(0)), base.fold(torch.tensor(1)),
        base.fold("a").fold(torch.tensor(1)), base.fold(torch.tensor(1)).fold("a"),
    ]  # fmt: skip
    found = {tuple(ctx.uniform(4).tolist()) for ctx in [base, *others]}
    assert len(found) == 1 + len(others)
    assert torch.equal(base.fold("a").uniform(4), context_of(1, 2, 3).fold("a").uniform(4))


def test_distributions() -> None:
    """200,000 draws: moments to five standard errors of normal (0, 1, 0, 3), uniform (1/2, 1/12) and bernoulli."""
    ctx, n = context_of(11), 200_000
    x, u, b = ctx.fold("x").normal(n).double(), ctx.fold("u").uniform(n).double(), ctx.fold("b").bernoulli(0.2, n)
    for found, mean, deviation in [
        (x, 0, 1), (x**2, 1, 2**0.5), (x**3, 0, 15**0.5), (x**4, 3, 96**0.5),
        (u, 0.5, 12**-0.5), ((u - 0.5) ** 2, 1 / 12, 180**-0.5), (b.double(), 0.2, 0.4), (x[1:] * x[:-1], 0, 1),
    ]:  # fmt: skip
        assert abs(float(found.mean()) - mean) < 5 * deviation / n**0.5
    assert float(u.min()) >= 0 and float(u.max()) < 1 and x.isfinite().all()
    assert ctx.bernoulli(1.0, 99).all() and not ctx.bernoulli(0.0, 99).any()


def test_fewer_numbers_are_the_first_of_more() -> None:
    """So rows of padding behind a client's own change none of its draws."""
    ctx = context_of(5)
    assert torch.equal(ctx.normal((6, 3))[:4], ctx.normal((4, 3)))
    assert ctx.normal(0).shape == (0,) and ctx.uniform().shape == ()


def test_numpy_on_the_server() -> None:
    ctx = context_of(5, 1)
    assert ctx.fold("a").rng().integers(2**40) == context_of(5, 1).fold("a").rng().integers(2**40)
    assert ctx.fold("a").rng().integers(2**40) != ctx.fold("b").rng().integers(2**40)


def test_a_context_travels() -> None:
    ctx = context_of(5, 1).fold("a")
    assert torch.equal(pickle.loads(pickle.dumps(ctx)).normal(3), ctx.normal(3))


def test_no_context_and_numbers_out_of_range_are_errors() -> None:
    for read in (lambda: NO_CONTEXT.round, lambda: NO_CONTEXT.fold("a").normal(2), lambda: NO_CONTEXT.rng()):
        with pytest.raises(NoContext, match=r"no context.*sgd\(…, ctx=ctx\)"):
            read()
    for wrong, message in (({"seed": -1}, "seed is from 0"), ({"round": 2**32}, "round"), ({"client": -1}, "client")):
        with pytest.raises(ValueError, match=message):
            context_of(**wrong)
