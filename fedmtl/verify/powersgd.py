"""PowerSGD: a packet by hand, the best matrix of its rank by singular values, and the loss of the first step."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.codecs.layout import layout_of
from fedmtl.verify.check import CheckResult, close, every, same_bits
from fedmtl.verify.coded import coded, lost, packet, refused, square

DRAW = np.random.default_rng(0)
LAYOUT = layout_of([("w/bias", (3,)), ("w/kernel", (4, 2, 3)), ("w/small", (2, 3)), ("w/weight", (5, 6))])
"""With one column (4, 6) takes 10 numbers and (5, 6) takes 11; (2, 3) would take 5 of 6. Beside are 3 numbers."""


def factors_of_one_column_by_hand(powersgd: Callable[..., Any]) -> CheckResult:
    """P = M q / ‖M q‖ and R = Mᵀ P, up to their sign: here q is the memory, and M' = P Rᵀ. What is sent are 3 numbers
    as they are, and 4 + 6, 2 + 3 and 5 + 6 of the three matrices. The next q is R."""
    codec, x = powersgd(rank=1).bind(LAYOUT), DRAW.standard_normal(63).astype(np.float32)
    q = DRAW.standard_normal(6 + 3 + 6).astype(np.float32)
    data, after = codec.encode(x, q, DRAW)
    numbers, found = np.frombuffer(data, "<f4"), codec.decode(data, 63)
    results = [close([len(data), codec.num_bytes(63)], [4 * 29] * 2, atol=0), same_bits(numbers[:3], x[:3])]
    results.append(same_bits(found[:3], x[:3]))
    for start, m, n, place, own in ((3, 4, 6, 3, 0), (27, 2, 3, 13, 6), (33, 5, 6, 18, 9)):
        matrix = x[start : start + m * n].reshape(m, n).astype(np.float64)
        p = matrix @ q[own : own + n]
        p *= np.sign(p[0]) * np.sign(numbers[place]) / np.linalg.norm(p)
        r = matrix.T @ p
        results.append(close(numbers[place : place + m + n], np.concatenate([p, r]), atol=1e-5))
        results.append(close(found[start : start + m * n], np.outer(p, r).reshape(-1), atol=1e-5))
        results.append(
            close(after[own : own + n] / np.linalg.norm(after[own : own + n]), r / np.linalg.norm(r), atol=1e-5)
        )
    return every(*results)


def a_matrix_of_its_rank_is_exact(powersgd: Callable[..., Any]) -> CheckResult:
    """A product of 30 x 3 and 3 x 40 is spanned by three columns: what is lost is float32's rounding, some 1e-14 of the
    square; of two columns it would be a third of it. Without names 1,203 numbers are 34 x 35 and 13 others: three
    columns take 3 (34 + 35) of them. A vector of one number, or of two, is sent as it is."""
    layout = layout_of([("w/a", (30, 40))])
    x = (DRAW.standard_normal((30, 3)) @ DRAW.standard_normal((3, 40))).astype(np.float32).reshape(-1)
    codec = powersgd(rank=3).bind(layout)
    data, _ = codec.encode(x, codec.init(layout), DRAW)
    flat = np.outer(np.arange(1, 35), np.arange(1, 36)).reshape(-1)
    flat = np.concatenate([flat, np.arange(13)]).astype(np.float32)
    bare = powersgd(rank=3)
    return every(
        close(square(codec.decode(data, x.size) - x) / square(x), 0, atol=1e-12),
        close([len(packet(bare, flat)), bare.num_bytes(1203)], [4 * (3 * 69 + 13)] * 2, atol=0),
        close(lost(bare, flat), 0, atol=1e-12),
        *(close(coded(bare, x[:n]), x[:n], atol=0) for n in (1, 2)),
    )


def the_memory_leads_to_the_best_matrix_of_its_rank(powersgd: Callable[..., Any]) -> CheckResult:
    """Eckart and Young: no matrix of rank r is nearer than Σ_(i > r) σ_i². With singular values 2^-i each round makes
    the part that is wrong four times smaller, in its square 16 times: after 8 rounds it is the best to 1e-4 of it. At
    first, of Gaussian numbers, (1 - r / m) (1 - r / n) is lost: the first r columns of M, turned so that Q is the first
    r axes, arrive whole, and r / m of the others: .8906 with r = 4, to 2 % of it."""
    layout, rank = layout_of([("w/a", (40, 50))]), 4
    left, right = (np.linalg.qr(DRAW.standard_normal((n, 40)))[0] for n in (40, 50))
    x = (left * 2.0 ** -np.arange(40) @ right.T).astype(np.float32).reshape(-1)
    codec, data = powersgd(rank=rank).bind(layout), b""
    state = codec.init(layout)
    for _ in range(8):
        data, state = codec.encode(x, state, DRAW)
    values = 4.0 ** -np.arange(40)
    gaussian = DRAW.standard_normal((64, 80)).astype(np.float32).reshape(-1)
    wide = powersgd(rank=rank).bind(layout_of([("w/a", (64, 80))]))
    first = [square(wide.decode(wide.encode(gaussian, wide.init(0), DRAW)[0], 5120) - gaussian) for _ in range(40)]
    return every(
        close(square(codec.decode(data, x.size) - x), values[rank:].sum(), atol=0, rtol=1e-4),
        close(np.mean(first) / square(gaussian), (1 - 4 / 64) * (1 - 4 / 80), atol=0, rtol=0.02),
    )


def others_are_refused(powersgd: Callable[..., Any]) -> CheckResult:
    """Numbers beyond 1 in columns of length 1, infinity, another length, and another size than the layout's."""
    codec = powersgd(rank=1).bind(LAYOUT)
    numbers = np.zeros(29, "<f4")
    wrong = [numbers.copy() for _ in range(2)]
    wrong[0][3], wrong[1][20] = 1.01, np.inf
    return every(
        *(refused(codec, each.tobytes(), 63) for each in wrong),
        refused(codec, numbers[1:].tobytes(), 63),
        refused(codec, numbers.tobytes(), 64),
        close(codec.decode(numbers.tobytes(), 63), np.zeros(63), atol=0),
    )


CHECKS = (
    factors_of_one_column_by_hand,
    a_matrix_of_its_rank_is_exact,
    the_memory_leads_to_the_best_matrix_of_its_rank,
    others_are_refused,
)
