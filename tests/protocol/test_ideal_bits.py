"""Ideal bits of whole packets: what stands around a body, bodies that a codec refuses, and changes of a reference."""

import math
from typing import Any

import numpy as np
import pytest

from fedmtl.codecs import EDEN, EF21, FP16, STC, Int8
from fedmtl.protocol.header import make_packet
from fedmtl.protocol.ideal_bits import broadcast_bits, ideal_bits
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import DOWN, UP, concat
from fedmtl.protocol.reference import Reference, ReferenceStep, steps_body, whole_body
from fedmtl.protocol.spec import Entry, Spec

SIZE = 500
SPEC = Spec([Entry("model", "w", (SIZE,))])


def bodies(codec: Any, count: int) -> list[bytes]:
    rng = np.random.default_rng(3)
    return [codec.encode(x, None, rng)[0] for x in rng.standard_normal((count, SIZE), np.float32)]


def modelled(codec: Any, body: bytes) -> float:
    return float(codec.ideal_bits(np.frombuffer(body, np.uint8)[None], SIZE)[0])


@pytest.mark.parametrize("codec", [Int8(), STC(0.1)])
def test_headers_count_nothing_metrics_and_refused_bodies_all(codec: Any) -> None:
    """Packets of one length and of several; an empty one, one that is cut in its header, and one of other bytes."""
    link = Link(SPEC, codec, ("a", "b"))
    good = bodies(codec, 4)
    packets = [make_packet(UP, link.digest, 1, 5.0, body + bytes(8)) for body in good]
    packets += [b"", bytes(20), bytes(32 + 9), bytes(32 + 8 + len(good[0])).replace(b"\0", b"\xff")]
    expected = [round(modelled(codec, body)) + 8 * 8 for body in good]
    other = 8 * (len(good[0]) + 8) if isinstance(codec, STC) else 32 * math.ceil(SIZE / 256) + 8 * 8
    assert ideal_bits(concat(packets), link).tolist() == [*expected, 0, 0, 8 * 9, other]


def test_the_version_of_a_memory_counts_all() -> None:
    """It is four bytes behind the body of an upload, whose receiver has a memory of the client."""
    link, (body,) = Link(SPEC, EF21(STC(0.1))), bodies(STC(0.1), 1)
    packets = concat([make_packet(UP, link.digest, 1, 5.0, body + bytes(4))])
    assert ideal_bits(packets, link).tolist() == [round(modelled(STC(0.1), body)) + 8 * 4]


def test_a_codec_without_a_model_counts_eight_bits_a_byte() -> None:
    link = Link(SPEC, FP16())
    (body,) = bodies(FP16(), 1)
    packets = concat([make_packet(DOWN, link.digest, 1, 0.0, body)])
    assert not link.models_entropy and ideal_bits(packets, link).tolist() == [8 * len(body)]
    assert broadcast_bits(packets, link, False).tolist() == [8 * len(body)]


@pytest.mark.parametrize("codec", [STC(0.1), EDEN(2)])
def test_changes_of_a_reference_have_the_bits_of_their_steps(codec: Any) -> None:
    """Of ``EDEN``, which is not contractive, 32 more for the multiple of each step; versions and lengths count nothing.
    A packet that several clients are sent is measured once, and counts for each."""
    link, codes = Link(SPEC, codec), bodies(codec, 2)
    scale = b"" if codec.traits.contractive else np.float32(0.5).tobytes()
    steps = [ReferenceStep(k, scale + code) for k, code in enumerate(codes, 1)]
    whole = whole_body(Reference(2, np.ones(SIZE, np.float32)))
    made = concat([make_packet(DOWN, link.digest, 3, 0.0, body) for body in (whole, steps_body(0, steps))])
    bits = broadcast_bits(made.select(np.array([1, 0, 1])), link, True)
    changes = round(sum(8 * len(scale) + modelled(codec, code) for code in codes))
    assert bits.tolist() == [changes, 32 * SIZE, changes]
