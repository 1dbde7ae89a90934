"""PowerSGD: each matrix as a product of two thin ones, found by one step of the power method a round.

    Vogels, Karimireddy, Jaggi. PowerSGD: practical low-rank gradient compression for distributed optimization. NeurIPS
    2019, arXiv:1905.13727

Updates of layers are nearly of low rank, and nearly in the directions of the round before.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import encode_one, generators_once
from fedmtl.codecs.checks import check_decoded, check_length
from fedmtl.codecs.layout import Layout, as_layout, layout_of
from fedmtl.codecs.traits import CodecTraits

MOST = np.finfo(np.float32).max


class Matrix(NamedTuple):
    """One array of a vector that is sent as two factors."""

    start: int
    """Its first number's index in the vector."""
    rows: int
    columns: int

    @property
    def span(self) -> slice:
        return slice(self.start, self.start + self.rows * self.columns)


@dataclass(frozen=True)
class PowerSGD:
    """The two factors of each matrix M [m, n], with Q [n, r] of the client's packet before; the rest as float32.

        P  = orth(M Q)          r orthonormal columns, by Householder's QR                 (1)
        R  = Mᵀ P               P and R travel                                             (2)
        M' = P Rᵀ               what is decoded                                            (3)
        Q' = R                  the memory, first normal random numbers                    (4)

    In the paper the nodes agree on P, the mean's, before R is sent: a second exchange in each step. Here an upload is
    one message, so the factors are a client's own, and Q is its memory: a step of the power method a round, which with
    Q from a seed would begin anew each time.

    M' is M projected on the span of P, so ‖M' - M‖² = ‖M‖² - ‖R‖². It is M where M's rank is at most r. As Q settles
    it is the best matrix of rank r, with Σ_(i > r) σ_i² lost; a Gaussian M loses (1 - r / m) (1 - r / n) at first.
    Biased: use it inside ``ErrorFeedback``.

    A matrix is an array of two axes or more, as (first axis, all others), such as a convolution's (out, in · height ·
    width), where r (m + n) < m n. All others, such as biases, are sent as they are, first. A vector without names is
    the squarest matrix that is not larger, and the few numbers that are left. Bytes: 4 r (m + n) a matrix and 4 a
    number of the others; 32 r (m + n) / (m n) bits a number of a matrix.
    """

    rank: int = 2
    """r: columns of the factors."""

    traits = CodecTraits(delta_only=True, by_layout=True, fixed_bytes=True)

    def __post_init__(self) -> None:
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1:
            raise ValueError(f"PowerSGD takes a whole number of columns, at least 1, got rank={self.rank!r}.")

    def bind(self, layout: Layout | int) -> "BoundPowerSGD":
        """The codec of vectors of this layout."""
        layout = as_layout(layout)
        if [place.name for place in layout.places] == [""]:
            side = math.isqrt(layout.size)
            columns = layout.size // max(side, 1)
            layout = layout_of([("", (side, columns)), ("", (layout.size - side * columns,))])
        return BoundPowerSGD(self, layout.size, tuple(self._matrices(layout)))

    def _matrices(self, layout: Layout) -> Iterator[Matrix]:
        for place in layout.places:
            rows, columns = place.shape[0] if place.shape else 1, math.prod(place.shape[1:])
            if self.rank * (rows + columns) < rows * columns:
                yield Matrix(place.start, rows, columns)

    def init(self, layout: Layout | int) -> NDArray[np.float32]:
        return self.bind(layout).init(layout)

    def num_bytes(self, size: int) -> int:
        return self.bind(size).num_bytes(size)

    def encode(
        self, x: NDArray[np.float32], state: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[bytes, NDArray[np.float32]]:
        """As in ``Codec``: without ``bind``, of a vector without a layout."""
        return self.bind(int(np.size(x))).encode(x, state, rng)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.bind(max(size, 0)).decode(data, size)


@dataclass(frozen=True, repr=False)
class BoundPowerSGD:
    """The codec that ``PowerSGD.bind`` makes."""

    owner: PowerSGD
    size: int
    matrices: tuple[Matrix, ...]

    traits = CodecTraits(delta_only=True, fixed_bytes=True, codes_rows=True)

    def __repr__(self) -> str:
        return repr(self.owner)

    @property
    def _others(self) -> list[slice]:
        """The spans of numbers that are in no matrix."""
        ends = [0, *(matrix.span.stop for matrix in self.matrices)]
        starts = [*(matrix.start for matrix in self.matrices), self.size]
        return [slice(end, start) for end, start in zip(ends, starts, strict=True) if start > end]

    def init(self, layout: Layout | int) -> NDArray[np.float32]:
        """Zeros, of the Q of all matrices: each is drawn when there is a generator."""
        return np.zeros(self.owner.rank * sum(matrix.columns for matrix in self.matrices), np.float32)

    def num_bytes(self, size: int) -> int:
        others = self.size - sum(matrix.rows * matrix.columns for matrix in self.matrices)
        return 4 * (others + self.owner.rank * sum(matrix.rows + matrix.columns for matrix in self.matrices))

    def encode(
        self, x: NDArray[np.float32], state: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[bytes, NDArray[np.float32]]:
        return encode_one(self, x, state, rng)

    def encode_rows(
        self, x: NDArray[np.float32], states: NDArray[np.float32], rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        count, place, after, generators = len(x), 0, np.empty_like(states), generators_once(rng_for)
        sent = [x[:, span] for span in self._others]
        for matrix in self.matrices:
            m = x[:, matrix.span].reshape(count, matrix.rows, matrix.columns)
            own = slice(place, place + self.owner.rank * matrix.columns)
            q = states[:, own].reshape(count, matrix.columns, -1).copy()
            for row in np.flatnonzero(~q.any((1, 2))):
                q[row] = generators(int(row)).standard_normal(q.shape[1:], np.float32)
            power = np.frexp(np.abs(m).max((1, 2), keepdims=True))[1].clip(-126, 126)
            m = m * np.ldexp(np.float32(1), -power)  # so that no product is too large for float32, or too small
            p = np.linalg.qr(m @ q)[0].astype(np.float32)  # (1)
            r = m.swapaxes(1, 2) @ p  # (2)
            after[:, own] = r.reshape(count, -1)  # (4)
            with np.errstate(over="ignore"):
                sent += [p.reshape(count, -1), np.ldexp(r, power).clip(-MOST, MOST).reshape(count, -1)]
            place = own.stop
        return np.concatenate(sent, axis=1).astype("<f4", copy=False).view(np.uint8), after

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        numbers = self._numbers(np.frombuffer(data, np.uint8)[None], size)
        check_decoded(self, numbers)
        return self._products(numbers)[0]

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        return self._products(self._numbers(data, size))

    def _numbers(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(size))
        if size != self.size:
            raise ValueError(
                f"{self!r} was bound to {self.size} numbers, got size={size}; bind it to the model's own layout."
            )
        return np.ascontiguousarray(data).view("<f4").astype(np.float32, copy=False)

    def _products(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what packets [K, bytes / 4] stand for, [K, size]; NaN of NaN."""
        count, rank, place = len(numbers), self.owner.rank, 0
        x = np.empty((count, self.size), np.float32)
        for span in self._others:
            x[:, span] = numbers[:, place : place + span.stop - span.start]
            place += span.stop - span.start
        for matrix in self.matrices:
            p = numbers[:, place : place + rank * matrix.rows].reshape(count, matrix.rows, -1)
            place += rank * matrix.rows
            r = numbers[:, place : place + rank * matrix.columns].reshape(count, matrix.columns, -1)
            place += rank * matrix.columns
            if np.abs(p).max() > 1.001:
                raise ValueError(
                    f"{self!r} makes columns of length 1, got a number of {np.abs(p).max():g}; "
                    "the packet is damaged or forged: reject the reply."
                )
            found = x[:, matrix.span].reshape(count, matrix.rows, -1)  # the same memory
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(p, r.swapaxes(1, 2), out=found)  # (3)
            if np.abs(r).max() > MOST / (2 * rank):
                np.clip(found, -MOST, MOST, out=found)
        return x
