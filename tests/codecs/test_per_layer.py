"""PerLayer: the bytes and values of each codec alone on the vector of its parameters, and globs that do not fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fedmtl.codecs import FP16, Chain, Codec, CodecTraits, Dense, ErrorFeedback, Int8, PerLayer, TopK
from fedmtl.codecs.layout import layout_of
from fedmtl.codecs.stated import stated_bytes
from fedmtl.codecs.transforms import ClipNorm, GaussianNoise

ARRAYS = [
    ("control/trunk.0.weight", (4, 6)),
    ("control/trunk.0.bias", (6,)),
    ("trunk/trunk.0.bias", (6,)),
    ("trunk/trunk.0.weight", (4, 6)),
    ("trunk/trunk.1.weight", (6, 3)),
    ("trunk/trunk.norm.weight", (5,)),
    ("trunk/trunk.norm.bias", (5,)),
    ("trunk/trunk.scale", ()),
]
LAYOUT = layout_of(ARRAYS)
SIZE = 24 + 6 + 6 + 24 + 18 + 5 + 5 + 1
X = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
CODEC = PerLayer({"trunk.0.*": Int8(block=8), "*.norm*": FP16()}, default=ErrorFeedback(TopK(0.25)))

FIRST = np.r_[0:60]
"""trunk.0 in both records: the first four arrays."""
NORM = np.r_[78:88]
REST = np.r_[60:78, 88:89]


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@dataclass(frozen=True)
class Ragged:
    """A codec whose bytes depend on the numbers: float32 without the zeros at the end."""

    traits = CodecTraits(unbiased=True, lossless=True, typical_bytes=True, max_bytes=True)

    def init(self, layout: Any) -> None:
        return None

    def typical_bytes(self, size: int) -> float:
        return 4.0 * size

    def max_bytes(self, size: int) -> int:
        return 4 * size

    def encode(self, x: Any, state: None, rng: Any) -> tuple[bytes, None]:
        return np.trim_zeros(x, "b").astype("<f4").tobytes(), None

    def decode(self, data: bytes, size: int) -> Any:
        if len(data) % 4 or len(data) > 4 * size:
            raise ValueError(f"Ragged makes up to {4 * size} bytes, got {len(data)}; it is damaged.")
        return np.concatenate([np.frombuffer(data, "<f4"), np.zeros(size - len(data) // 4, np.float32)])


def test_a_layout_is_names_shapes_and_places() -> None:
    assert LAYOUT.size == SIZE == np.zeros(LAYOUT).size
    assert LAYOUT.places[4] == ("trunk/trunk.1.weight", (6, 3), 60) and LAYOUT.places[4].size == 18
    assert LAYOUT.places[7].size == 1
    assert LAYOUT.select([1, 3]).places == layout_of([ARRAYS[1], ARRAYS[3]]).places


def test_bytes_and_values_are_those_of_the_parts_alone() -> None:
    """In the order of the globs, the default last, all with one generator; the memory of each is its own."""
    bound = CODEC.bind(LAYOUT)
    state, alone = bound.init(LAYOUT), ErrorFeedback(TopK(0.25))
    memory, data = alone.init(len(REST)), b""
    for k in range(3):
        data, state = bound.encode(X, state, draw(k))
        generator = draw(k)
        first, _ = Int8(block=8).encode(X[FIRST], None, generator)
        norm, _ = FP16().encode(X[NORM], None, generator)
        rest, memory = alone.encode(X[REST], memory, generator)
        assert data == first + norm + rest
        assert np.array_equal(state[2][0], memory[0]) and memory[0].any()
        found = bound.decode(data, SIZE)
        assert np.array_equal(found[FIRST], Int8(block=8).decode(first, 60))
        assert np.array_equal(found[NORM], FP16().decode(norm, 10))
        assert np.array_equal(found[REST], alone.decode(rest, 19))
    assert len(data) == bound.num_bytes(SIZE) <= bound.max_bytes(SIZE)


def test_a_glob_means_the_name_in_every_record_and_with_a_slash_the_record_too() -> None:
    one = PerLayer({"trunk/trunk.0.*": FP16()}, default=Dense()).bind(LAYOUT)
    assert [part.spans for part in one.parts] == [((30, 60),), ((0, 30), (60, SIZE))]
    every = PerLayer({"control/*": FP16()}).bind(LAYOUT)
    assert [part.spans for part in every.parts] == [((0, 30),), ((30, SIZE),)]
    assert CODEC.unmatched(LAYOUT) == set()
    assert PerLayer({"head.*": FP16(), "trunk.?.bias": FP16(), "down/*": FP16()}).unmatched(LAYOUT) == {
        "head.*",
        "down/*",
    }


def test_globs_that_disagree_are_refused_and_that_agree_are_not() -> None:
    with pytest.raises(ValueError, match="'control/trunk.0.weight' is matched by 'trunk.0.*', .* and by '\\*weight'"):
        PerLayer({"trunk.0.*": Int8(), "*weight": FP16()}).bind(LAYOUT)
    same = PerLayer({"trunk.0.*": Int8(), "*bias": Int8()}).bind(LAYOUT)
    assert [part.layout.size for part in same.parts] == [60, 5, SIZE - 65]


def test_rows_are_coded_as_they_are_one_by_one() -> None:
    codec = PerLayer({"trunk.0.*": Int8(block=8), "*.norm*": Chain(ClipNorm(1.0), GaussianNoise(0.1), FP16())}, Dense())
    bound, rows = codec.bind(LAYOUT), np.stack([X, -X, 0 * X])
    assert bound.traits.codes_rows
    state = bound.init(LAYOUT)
    found, _ = bound.encode_rows(rows, state, draw)
    assert [row.tobytes() for row in found] == [bound.encode(rows[k], state, draw(k))[0] for k in range(3)]
    decoded = bound.decode_rows(found, SIZE)
    assert [row.tolist() for row in decoded] == [bound.decode(row.tobytes(), SIZE).tolist() for row in found]


def test_a_codec_of_any_length_has_its_length_before_it_but_not_at_the_end() -> None:
    """32-bit, little-endian; 4 bytes more, and 8 where two parts are of that kind."""
    x = X.copy()
    x[[86, 87]] = 0  # the end of the norms
    bound = PerLayer({"*.norm*": Ragged()}, default=Dense()).bind(LAYOUT)
    data, _ = bound.encode(x, bound.init(LAYOUT), draw())
    assert data[:4] == (8 * 4).to_bytes(4, "little") and len(data) == 4 + 8 * 4 + 4 * (SIZE - 10)
    assert np.array_equal(bound.decode(data, SIZE), x)
    assert stated_bytes(PerLayer({"*.norm*": Ragged()}, default=Dense()), LAYOUT).typical == 4 + 4 * SIZE
    last = PerLayer({"trunk.*": Dense(), "x": Ragged()}, default=Ragged()).bind(LAYOUT)
    assert len(last.encode(x, last.init(LAYOUT), draw())[0]) == 4 * SIZE
    for wrong in (b"\xff" * 4 + data[4:], data[:3], b"\x21" + data[1:], data[:-1], b"", data + b"\0"):
        with pytest.raises(ValueError, match="damaged|bytes for"):
            bound.decode(wrong, SIZE)


@pytest.mark.parametrize("codec", [CODEC, Chain(ClipNorm(1.0), GaussianNoise(0.1), CODEC)], ids=repr)
def test_bytes_that_no_codec_made_are_refused_or_finite(codec: Any) -> None:
    """Every cut is refused by its length, before a number is read; every flipped bit is refused or finite."""
    bound: Codec[Any] = codec.bind(LAYOUT)
    data, _ = bound.encode(X, bound.init(LAYOUT), draw())
    for end in [*range(len(data)), len(data) + 1, 10 * len(data)]:
        with pytest.raises(ValueError, match=f"PerLayer.* makes {len(data)} bytes for {SIZE} numbers, got"):
            bound.decode((data * 10)[:end], SIZE)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert np.isfinite(bound.decode(bytes(flipped), SIZE)).all()
        except ValueError as error:
            assert "damaged or forged" in str(error)


def test_a_bound_codec_is_for_its_layout() -> None:
    with pytest.raises(ValueError, match="was bound to 89 numbers, got size=88"):
        CODEC.bind(LAYOUT).decode(b"", 88)
    with pytest.raises(ValueError, match="finite numbers, got 1"):
        CODEC.bind(LAYOUT).encode(np.full(SIZE, np.nan, np.float32)[:1], (None, None, None), draw())


def test_empty_arrays_have_no_part() -> None:
    layout = layout_of([("r/a", (0, 3)), ("r/b", (2,))])
    assert [part.layout.size for part in PerLayer({"a": FP16()}).bind(layout).parts] == [2]


def test_parts_are_values() -> None:
    assert hash(CODEC) == hash(PerLayer(dict(CODEC.layers), default=CODEC.default))
    assert CODEC != PerLayer({"trunk.0.*": Int8(block=8)}, default=CODEC.default)
