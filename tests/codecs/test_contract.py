"""One battery over all codecs. The first vector of a client is coded unless a test says otherwise.

Sizes and vectors are cases of one test of a codec: hundreds of calls take less time than a test costs by itself.
"""

import copy
import pickle
from collections.abc import Callable
from functools import cache, wraps
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fedmtl.codecs as codecs
from fedmtl.codecs import Codec
from fedmtl.codecs.stated import stated_bytes
from tests.cases import case as one_case
from tests.codecs.codec_list import ALL_CODECS, Case, square

SIZES = [1, 2, 3, 31, 255, 256, 257, 1000, 4097]

pytestmark = pytest.mark.parametrize("case", ALL_CODECS, ids=lambda case: repr(case.codec))


def once(draw: Callable[[int, int], NDArray[np.float32]]) -> Callable[..., NDArray[np.float32]]:
    """Have vectors drawn once for all codecs; nobody may write to them."""

    @cache
    def kept(n: int, seed: int) -> NDArray[np.float32]:
        x = draw(n, seed)
        x.setflags(write=False)
        return x

    return wraps(draw)(lambda n, seed=0: kept(n, seed))


@once
def gaussian(n: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng([1, seed]).standard_normal(n, np.float32)


@once
def heavy(n: int, seed: int) -> NDArray[np.float32]:
    """Kurtosis 16, as real updates have: N(0, 19.28) with chance q = 0.05, else N(0, 1), times 0.01.

    The kurtosis of the mixture is 3 (1 - q + q a²) / (1 - q + q a)² with a = 19.28: 16.0.
    """
    rng = np.random.default_rng([2, seed])
    wide = np.where(rng.random(n) < 0.05, np.sqrt(19.28), 1.0)
    return (0.01 * wide * rng.standard_normal(n)).astype(np.float32)


VECTORS = (gaussian, heavy)


def encode(codec: Codec[Any], x: NDArray[np.float32], seed: int = 0) -> bytes:
    return codec.encode(x, codec.init(x.size), np.random.default_rng(seed))[0]


def around(codec: Codec[Any], x: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    return codec.decode(encode(codec, x, seed), x.size)


def same_tree(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same_tree, a, b))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def test_round_trip_is_within_the_claimed_error(case: Case) -> None:
    for n, make, seed in product(SIZES, VECTORS, range(5)):
        x = make(n, seed)
        with one_case(n, make.__name__, seed):
            y = around(case.codec, x, seed)
            assert y.shape == x.shape and y.dtype == np.float32 and np.isfinite(y).all()
            error = square(y.astype(np.float64) - x)
            assert error <= case.worst(x) * (1 + 1e-5)
            if case.codec.traits.lossless:
                assert y.tobytes() == x.tobytes()
            if case.codec.traits.contractive:
                assert error <= square(x) * (1 + 1e-6)


def test_size_does_not_matter(case: Case) -> None:
    """NMSE of s x is that of x, for vectors of any size; rounding falls elsewhere, which is a factor below 2."""

    def error(x: NDArray[np.float32], size: float) -> float:
        v = x * np.float32(size)
        return square(around(case.codec, v).astype(np.float64) - v) / square(v)

    for make in VECTORS:
        x = make(5000)
        own = error(x, 1.0)
        for size in (1e-37, 1e-30, 1e-20, 1e-10, 1e-6, 1e-3, 1e3, 1e6, 1e20, 1e30, 1e36):
            with one_case(make.__name__, size):
                assert error(x, size) <= 2 * own


def test_the_least_numbers_of_float32_arrive(case: Case) -> None:
    """Their NMSE is at most the codec's own and what float32 rounds there, at most half of its least number."""
    half = float(np.finfo(np.float32).smallest_subnormal) / 2
    for size in (1e-44, 1e-42, 1e-40, 1e-38):
        x = (gaussian(5000).clip(-3, 3) * size).astype(np.float32)
        with one_case(size):
            error = square(around(case.codec, x).astype(np.float64) - x)
            assert error <= 2 * (case.gaussian * 1.2 * square(x) + x.size * half**2)


def test_small_layers_beside_large_ones_arrive(case: Case) -> None:
    """A vector whose second half is smaller: each half has the NMSE that it has alone, where all numbers are sent."""
    if not case.by_size:
        pytest.skip("it looks at the whole vector")
    for small in (1e-12, 1e-6):
        one, other = gaussian(1024), (gaussian(1024, 1) * small).astype(np.float32)
        found = around(case.codec, np.concatenate([one, other]))
        for part, arrived in ((one, found[:1024]), (other, found[1024:])):
            with one_case(small):
                assert square(arrived.astype(np.float64) - part) <= 1.3 * case.gaussian * square(part)


def test_bytes_are_as_stated(case: Case) -> None:
    """They depend on the size only, or are at most those stated, whatever the vector is."""
    for n in SIZES:
        stated, expected = stated_bytes(case.codec, n), case.num_bytes(n)
        for x in (gaussian(n), heavy(n), np.zeros(n, np.float32), np.ones(n, np.float32), np.sort(gaussian(n))):
            with one_case(n, x[:3]):
                bytes_ = len(encode(case.codec, x))
                assert bytes_ == stated.most == expected if case.fixed else bytes_ <= stated.most


def test_typical_bytes_are_those_of_gaussian_vectors(case: Case) -> None:
    """Stated, derived and measured on 2^16 numbers; their sampling error is a few in a thousand."""
    stated = stated_bytes(case.codec, 2**16).typical
    measured = len(encode(case.codec, gaussian(2**16)))
    assert stated == pytest.approx(case.num_bytes(2**16), rel=1e-3) and measured == pytest.approx(stated, rel=0.01)


def test_gaussian_error_is_the_closed_form(case: Case) -> None:
    """On 2^18 numbers in 64 parts the mean of the parts' NMSE is within 5 of its standard errors."""
    parts = gaussian(2**18).reshape(64, -1)
    measured = [square(around(case.codec, x, i).astype(np.float64) - x) / x.size for i, x in enumerate(parts)]
    assert abs(np.mean(measured) - case.gaussian) <= 5 * np.std(measured) / 8
    assert np.std(measured) <= 0.1 * case.gaussian  # so the line above can fail


@pytest.mark.parametrize("make", VECTORS)
def test_bias_is_as_claimed(case: Case, make: Any) -> None:
    """The mean of S = 64 decoded vectors has 1/S of one vector's squared error if unbiased; the same error if fixed."""
    x = make(1000)
    decoded = np.stack([around(case.codec, x, seed) for seed in range(64)]).astype(np.float64)
    one = np.mean([square(y - x) for y in decoded])
    mean = square(decoded.mean(0) - x)
    if case.codec.traits.lossless:
        assert one == 0
    elif case.codec.traits.unbiased:
        assert one > 0 and mean < 1.5 / 64 * one
    else:
        assert mean > 0.5 * one > 0


def test_same_generator_gives_the_same_bytes(case: Case) -> None:
    x = heavy(1000)
    assert encode(case.codec, x, seed=3) == encode(case.codec, x, seed=3)


def test_zeros_stay_zeros(case: Case) -> None:
    for n in SIZES:
        with one_case(n):
            assert not around(case.codec, np.zeros(n, np.float32)).any()


def test_one_coordinate_alone(case: Case) -> None:
    if not case.keeps_zeros:
        pytest.skip("it spreads a number over the vector")
    for at in (0, 500, 998):
        x = np.zeros(999, np.float32)
        x[at] = -3.25
        with one_case(at):
            y = around(case.codec, x)
            assert y[at] == pytest.approx(-3.25, rel=1 / 127)
            assert np.count_nonzero(y) == 1


def test_refuses_what_is_not_finite(case: Case) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        x = gaussian(100).copy()
        x[[7, 9]] = bad
        with one_case(bad), pytest.raises(ValueError, match="finite numbers, got 2"):
            encode(case.codec, x)


def test_refuses_what_is_not_a_vector(case: Case) -> None:
    for shape in ((0,), (2, 3), ()):
        with one_case(shape), pytest.raises(ValueError, match="flat vector"):
            case.codec.encode(np.ones(shape, np.float32), case.codec.init(1), np.random.default_rng(0))


def test_refuses_bytes_of_another_length(case: Case) -> None:
    for n in SIZES:
        data = encode(case.codec, gaussian(n))
        for wrong in (b"", data[:-1], *([data[1:]] if case.fixed else []), data + b"\0", data + data):
            message = f"makes {len(data)} bytes for {n} numbers, got {len(wrong)}" if case.fixed else "bytes|damaged"
            with one_case(n, len(wrong)), pytest.raises(ValueError, match=message):
                case.codec.decode(wrong, n)
        for size in (0, -1):
            with one_case(n), pytest.raises(ValueError, match=f"size={size}"):
                case.codec.decode(data, size)


def test_bytes_of_the_right_length_give_a_finite_vector_or_a_value_error(case: Case) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 3, 10, 100) * 50:
        try:
            y = case.codec.decode(rng.bytes(int(case.num_bytes(n))), n)
        except ValueError:
            continue
        assert y.shape == (n,) and np.isfinite(y).all()


def test_inputs_are_left_as_they_were(case: Case) -> None:
    x, state = heavy(1000), case.codec.init(1000)  # which cannot be written to
    for seed in range(3):  # from the second on, a memory is not zero
        x_before, state_before = x.copy(), copy.deepcopy(state)
        data, after = case.codec.encode(x, state, np.random.default_rng(seed))
        assert np.array_equal(x, x_before) and same_tree(state, state_before)
        case.codec.decode(data, 1000)[:] = 0  # the receiver's own
        state = after


def test_strides_do_not_matter(case: Case) -> None:
    x = heavy(2000)
    assert encode(case.codec, x[::2]) == encode(case.codec, x[::2].copy())


def test_states_pickle_to_the_same_next_packet(case: Case) -> None:
    _, state = case.codec.encode(heavy(300), case.codec.init(300), np.random.default_rng(0))
    again = pickle.loads(pickle.dumps(state))
    packets = [case.codec.encode(heavy(300, 1), s, np.random.default_rng(1))[0] for s in (state, again)]
    assert packets[0] == packets[1]


def test_is_a_value(case: Case) -> None:
    codec = case.codec
    for other in (pickle.loads(pickle.dumps(codec)), eval(repr(codec), dict(vars(codecs))), copy.deepcopy(codec)):
        assert other == codec and hash(other) == hash(codec) and repr(other) == repr(codec)
    assert sum(codec == other.codec for other in ALL_CODECS) == 1
