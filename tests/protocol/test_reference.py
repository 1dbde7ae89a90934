"""Steps of a reference and their bodies, apart from any run."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedmtl.codecs import EDEN, QSGD, STC, Chain, PerLayer, RandK, Sign, TernGrad, TopK
from fedmtl.protocol.link import Link
from fedmtl.protocol.reference import (
    NONE,
    Lacking,
    Reference,
    ReferenceStep,
    decode_step,
    encode_step,
    read_body,
    steps_body,
    steps_bytes,
    whole_body,
    whole_bytes,
)
from fedmtl.protocol.spec import spec_of
from tests.codecs.test_chain import Times

NOTHING = Reference(NONE, np.zeros(0, np.float32))


def link_of(codec: object, size: int) -> Link:
    return Link(spec_of({"trunk": {"trunk.w": torch.zeros(size)}}), codec)  # pyright: ignore[reportArgumentType]


def vector(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_what_a_step_leaves_out_arrives_later() -> None:
    """By hand, the largest of three numbers a step, x = (3, -1, 2) in all: h is (3, 0, 0), then (3, 0, 2), then x."""
    link, x, h = link_of(TopK(1 / 3), 3), vector(3, -1, 2), vector(0, 0, 0)
    seen = []
    for _ in range(4):
        _, change, _ = encode_step(link, x - h, None, draw())
        h = h + change
        seen.append(h.tolist())
    assert seen == [[3, 0, 0], [3, 0, 2], [3, -1, 2], [3, -1, 2]]


@pytest.mark.parametrize(
    ("codec", "nmse"),
    [
        (RandK(0.05), 0.95),  # γ = k / n makes of it the mask alone, which loses 1 - k / n
        (EDEN(1), 1 - 2 / math.pi),  # the sign with its best magnitude
        (TernGrad(256), None),
        (QSGD(), None),
        (Sign(), 1 - 2 / math.pi),
        (STC(0.05), None),
        (Chain(Times(-3.0), TopK(0.5)), None),
        (PerLayer({"*": RandK(0.05)}), 0.95),
    ],
    ids=repr,
)
def test_no_codec_takes_the_reference_farther_away(codec: object, nmse: float | None) -> None:
    """‖x - h'‖ ≤ ‖x - h‖, and where the closed form is simple, by how much; what is sent is what the sender adds."""
    link = link_of(codec, 20_000)
    x = draw(1).standard_normal(20_000).astype(np.float32)
    code, change, _ = encode_step(link, x, link.init(), draw())
    assert np.array_equal(decode_step(link, code), change)
    left = float(((x - change).astype(np.float64) ** 2).sum() / (x.astype(np.float64) ** 2).sum())
    assert left < 1 if nmse is None else left == pytest.approx(nmse, rel=0.02)
    nothing, none, _ = encode_step(link, 0 * x, link.init(), draw())
    assert not none.any() and np.array_equal(decode_step(link, nothing), none)


def chain(count: int) -> tuple[Link, list[Reference], list[ReferenceStep]]:
    """References of versions 2 to 2 + count, and the steps between."""
    link, h, steps = link_of(STC(0.1), 50), draw(9).standard_normal(50).astype(np.float32), list[ReferenceStep]()
    references = [Reference(2, h)]
    for version in range(3, 3 + count):
        code, change, _ = encode_step(link, draw(version).standard_normal(50).astype(np.float32), None, draw())
        steps.append(ReferenceStep(version, code))
        references.append(Reference(version, references[-1].numbers + change))
    return link, references, steps


def same(one: Reference, other: Reference) -> bool:
    return one.version == other.version and one.numbers.tobytes() == other.numbers.tobytes()


def test_all_clients_end_with_the_reference_bit_for_bit() -> None:
    """From each version since the base, one that is newer than the server knows of too, or from the whole model."""
    link, references, steps = chain(4)
    body = steps_body(2, steps)
    assert len(body) == steps_bytes(steps) == 4 + sum(8 + len(step.code) for step in steps)
    assert all(same(read_body(link, body, held, 6), references[-1]) for held in references)
    whole = whole_body(references[-1])
    assert len(whole) == whole_bytes(50) == 4 + 8 + 200
    assert all(same(read_body(link, whole, held, 6), references[-1]) for held in (NOTHING, *references))
    assert same(read_body(link, steps_body(4, steps[2:]), references[2], 6), references[-1])
    for held in (NOTHING, *references[:2], Reference(7, references[0].numbers)):
        with pytest.raises(Lacking, match=f"from version 4 to 6, this side holds {held.version}"):
            read_body(link, steps_body(4, steps[2:]), held, 6)


def test_bodies_that_no_server_makes_are_refused() -> None:
    link, references, steps = chain(3)
    good, held = steps_body(2, steps), references[0]
    for body, version, why in (
        (b"", 5, "at least 4 bytes"),
        (good[:4], 5, "has steps from 2 up to it, got"),
        (good, 6, "of version 6 has steps"),
        (good[:9], 5, "begins with 8 bytes, got 5"),
        (good[:-1], 5, r"a step of \d+ bytes in \d+"),
        (steps_body(2, steps[::-1]), 3, "has steps from 2 up to it"),
        (steps_body(5, steps), 5, "has steps from 5 up to it"),
        (steps_body(-2, steps), 5, "a base is a version or -1"),
        (steps_body(-1, steps), 5, "a whole model is 200 bytes"),
        (steps_body(-1, [ReferenceStep(5, bytes(196))]), 5, "a whole model is 200 bytes"),
        (steps_body(2, [ReferenceStep(5, b"")]), 5, "STC"),
    ):
        with pytest.raises(ValueError, match=why):
            read_body(link, body, held, version)
    noise = draw(3)
    for _ in range(2_000):
        body = bytearray(good[: noise.integers(len(good) + 1)])
        for at in noise.integers(0, max(len(body), 1), 3) if body else ():
            body[at] ^= 1 << noise.integers(8)
        try:
            found = read_body(link, bytes(body), held, 5)
        except ValueError:
            continue
        assert found.version == 5 and found.numbers.shape == (50,)
