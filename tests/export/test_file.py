"""The file of a small model: its length against the formula, and what is read back."""

import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedmtl.export.file import from_bytes, to_bytes
from fedmtl.export.formats import ModelFormat, load, save
from fedmtl.export.mixture import apart, flat
from fedmtl.export.quantize import Quantised


def same(a: Tensor | Quantised, b: Tensor | Quantised) -> bool:
    """Bits, types and shapes."""
    parts = zip(a if isinstance(a, Quantised) else [a], b if isinstance(b, Quantised) else [b], strict=True)
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in parts)


def sparse(n: int, m: int, int8: bool) -> Tensor | Quantised:
    """[1, n] with m numbers that are not 0, the last one among them."""
    numbers = torch.zeros(n)
    numbers[n - 1 - 2 * torch.arange(m)] = torch.arange(1.0, m + 1)
    return Quantised(numbers[None].to(torch.int8), torch.ones(1)) if int8 else numbers[None]


def test_a_dense_file_by_hand() -> None:
    """12 + "a.weight" [2, 3]: 4 + 8 + 4·2 + 4·6 = 44, + "a.bias" [2]: 4 + 6 + 4 + 4·2 = 22; in all 78.

    In int8 the weight's six numbers take 6 bytes and its two scales 8: 4 + 8 + 8 + 8 + 6 = 34; in all 68.
    """
    params = {"a.weight": torch.tensor([[1.0, 2, 3], [4, 5, 6]]), "a.bias": torch.tensor([7.0, 8.0])}
    assert len(save(params, ModelFormat())) == 78 and len(save(params, ModelFormat(int8=True))) == 68
    assert all(torch.equal(load(save(params, ModelFormat()))[name], params[name]) for name in params)


@pytest.mark.parametrize(
    ("n", "m", "int8", "body"),
    [
        (100, 100, False, 400),  # all; a bitmap would be 13 + 400
        (100, 96, False, 397),  # bitmap, 13 + 384
        (100, 97, False, 400),  # all; bitmap 13 + 388 = 401
        (100, 5, False, 33),  # bitmap, 13 + 20; index 4 + 6·5 = 34
        (100, 4, False, 28),  # index, 4 + 6·4; bitmap 13 + 16 = 29
        (100, 3, False, 22),  # index, 4 + 6·3; bitmap 13 + 12
        (100, 0, False, 4),  # index, nothing but the count
        (1, 0, False, 1),  # bitmap
        (100, 87, True, 100),  # all; bitmap 13 + 87 is no less
        (100, 86, True, 99),  # bitmap, 13 + 86
        (100, 5, True, 18),  # bitmap, 13 + 5; index 4 + 3·5 = 19
        (100, 3, True, 13),  # index, 4 + 3·3; bitmap 16
        (65536, 10, False, 64),  # index of 2 bytes, 4 + 6·10
        (65537, 10, False, 84),  # index of 4 bytes, 4 + 8·10
        (65537, 10, True, 54),  # 4 + 5·10
    ],
)
def test_the_shortest_layout(n: int, m: int, int8: bool, body: int, tmp_path: Path) -> None:
    """[1, n] under the name "w": 12 + 4 + 1 + 4·2 = 25 bytes around it, and one scale of 4 bytes in int8."""
    numbers = sparse(n, min(m, n // 2), int8)
    if m > n // 2:
        dense = torch.ones(1, n)
        dense[0, : n - m] = 0
        numbers = Quantised(dense.to(torch.int8), torch.ones(1)) if int8 else dense
    path = tmp_path / "w.small"
    path.write_bytes(to_bytes({"w": numbers}))
    assert path.stat().st_size == 25 + 4 * int8 + body
    back = from_bytes(path.read_bytes())
    assert list(back) == ["w"] and same(back["w"], numbers)


def test_int8_is_four_times_smaller_as_layers_grow() -> None:
    """C channels of d weights and a bias: 4C(d + 1) bytes dense, C(d + 4 + 4) in int8, 4 (d + 1)/(d + 8) times smaller.

    3.61 for d = 64, 3.97 for d = 1000. The rest of the file is 12 + (4 + 1 + 8) + (4 + 1 + 4) = 34 bytes either way.
    """
    for channels, d in ((64, 64), (10, 1000)):
        params = {"w": torch.randn(channels, d), "b": torch.ones(channels)}
        params["w"][params["w"].abs() < 0.1] = 1.0
        dense, int8 = len(save(params, ModelFormat())), len(save(params, ModelFormat(int8=True)))
        assert (dense, int8) == (34 + 4 * channels * (d + 1), 34 + channels * (d + 8))


def test_shapes_names_and_a_scalar_come_back() -> None:
    params = {"head.größe.0": torch.randn(2, 3, 1, 4), "s": torch.tensor(2.5), "e": torch.zeros(0, 3)}
    back = load(save(params, ModelFormat()))
    assert list(back) == list(params) and all(same(back[name], params[name]) for name in params)


def test_a_form_prunes_and_then_quantises() -> None:
    """keep = 1/2 of [[100, 1], [2, 50]] leaves 100 and 50, the scales are 100/127 and 50/127."""
    back = load(save({"w": torch.tensor([[100.0, 1], [2, 50]])}, ModelFormat(int8=True, keep=0.5)))["w"]
    assert back.tolist() == [[pytest.approx(100), 0], [0, pytest.approx(50)]]


@pytest.mark.parametrize("each", [True, False], ids=["weights-by-task", "weights"])
def test_a_mixture_is_one_file(each: bool) -> None:
    """Twelve models, so that a name begins like another's."""
    models = [{"trunk.w": torch.full((1, 2), float(m)), "head.a.b": torch.tensor([m + 0.5])} for m in range(12)]
    weights = torch.arange(12.0)
    back, found = apart(load(save(flat(models, {"a": weights, "b": 2 * weights} if each else weights), ModelFormat())))
    assert len(back) == 12
    for one, model in zip(back, models, strict=True):
        assert one.keys() == model.keys() and all(torch.equal(one[name], model[name]) for name in model)
    if isinstance(found, Tensor):
        assert not each and torch.equal(found, weights)
    else:
        assert each and torch.equal(found["a"], weights) and torch.equal(found["b"], 2 * weights)


def test_any_damaged_byte_is_found() -> None:
    data = save({"w": torch.randn(3, 4), "b": torch.ones(3)}, ModelFormat(int8=True))
    for at in range(len(data)):
        with pytest.raises(ValueError, match="checksum|another kind"):
            load(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ValueError, match="checksum|another kind"):
            load(data[:at])


def sealed(*parts: bytes, count: int = 1) -> bytes:
    """A file of entries by hand, with the checksum that fits it: who damages on purpose mends that too."""
    blob = b"fmsm" + struct.pack("<I", count) + b"".join(parts)
    return blob + struct.pack("<I", zlib.crc32(blob))


def entry(kind: int, layout: int, shape: tuple[int, ...], body: bytes, name: bytes = b"w") -> bytes:
    return (
        struct.pack("<4B", kind, layout, len(shape), len(name)) + name + struct.pack(f"<{len(shape)}I", *shape) + body
    )


HOSTILE = {
    "more entries than there are": (sealed(count=2**32 - 1), "ends too early"),
    "2^160 numbers": (sealed(entry(0, 0, (2**32 - 1,) * 5, b"")), "more numbers than a model may have"),
    "2^64 numbers, which wrap to 0": (sealed(entry(0, 0, (2**16,) * 4, b"")), "more numbers than a model may have"),
    "2^30 zeros in four bytes": (sealed(entry(0, 2, (2**15, 2**15), b"\0" * 4)), "more numbers than a model may have"),
    "2^19 zeros, three times": (
        sealed(*(entry(0, 2, (2**19,), b"\0" * 4, b"w%d" % i) for i in range(3)), count=3),
        "more numbers than a model may have",
    ),
    "numbers that are not there": (sealed(entry(0, 0, (4,), b"\0" * 15)), "ends too early"),
    "a bitmap that is not there": (sealed(entry(0, 1, (800,), b"\0" * 50)), "ends too early"),
    "values that are not there": (sealed(entry(0, 1, (8,), b"\xff" + b"\0" * 4)), "ends too early"),
    "an index that is not there": (sealed(entry(0, 2, (8,), struct.pack("<I", 2**32 - 1))), "ends too early"),
    "an index out of range": (sealed(entry(0, 2, (8,), struct.pack("<IHf", 1, 8, 1.0))), "out of order or range"),
    "an index out of order": (
        sealed(entry(0, 2, (8,), struct.pack("<IHHff", 2, 3, 3, 1.0, 1.0))),
        "out of order or range",
    ),
    "another type": (sealed(entry(2, 0, (), b"\0" * 4)), "unknown kind of entry"),
    "another layout": (sealed(entry(0, 3, (), b"\0" * 4)), "unknown kind of entry"),
    "int8 without channels": (sealed(entry(1, 0, (), b"\0")), "unknown kind of entry"),
    "forty dimensions": (sealed(entry(0, 0, (1,) * 40, b"\0" * 4)), "unknown kind of entry"),
    "a name that is not UTF-8": (sealed(entry(0, 0, (), b"\0" * 4, b"\xff")), "a name is not UTF-8"),
    "a name twice": (sealed(*[entry(0, 0, (), b"\0" * 4)] * 2, count=2), "'w' is there twice"),
    "bytes at the end": (sealed(entry(0, 0, (), b"\0" * 4), b"more"), "bytes are left at its end"),
    "NaN": (sealed(entry(0, 0, (), struct.pack("<f", float("nan")))), "'w' holds NaN or infinity"),
    "a scale of infinity": (
        sealed(entry(1, 0, (1,), struct.pack("<fb", float("inf"), 1))),
        "'w' holds NaN or infinity",
    ),
}
"""What is wrong -> a file whose checksum fits, and what is said."""


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_before_memory_is_taken(case: str) -> None:
    """Two tensors of 2^19 numbers take 4 MB, and 2 MB on their way; the largest asks for 2^160 numbers."""
    data, message = HOSTILE[case]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as error:
            from_bytes(data, most=2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert peak < 10 * 2**20


def test_by_default_a_file_may_ask_for_a_gigabyte() -> None:
    with pytest.raises(ValueError, match="more numbers than a model may have"):
        load(HOSTILE["2^30 zeros in four bytes"][0])


def test_files_with_any_byte_changed_are_read_or_refused() -> None:
    """2,000 changes of one to four bytes, with a checksum that fits."""
    draw = random.Random(0)
    whole = save({"a.w": torch.randn(3, 4), "a.b": torch.zeros(3), "c": torch.eye(9)}, ModelFormat(int8=True))[:-4]
    for _ in range(2000):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(4, len(changed))] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
        blob = bytes(changed)
        try:
            from_bytes(blob + struct.pack("<I", zlib.crc32(blob)), most=10**6)
        except ValueError as error:
            assert "not one that fedmtl writes" in str(error)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_diverged_is_refused(value: float, int8: bool) -> None:
    with pytest.raises(ValueError, match="w is .* NaN or infinity"):
        save({"w": torch.tensor([[1.0, value]])}, ModelFormat(int8=int8))
