"""EF21: steps by hand, a vector that stands still, memories of both sides, and descent that top-1 alone cannot do."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmtl.codecs import STC, Sign, TopK
from fedmtl.verify.check import CheckResult, below, close, every, same_bits
from fedmtl.verify.coded import VECTORS, packet, square

DRAW = np.random.default_rng(0)


def three_steps_by_hand(ef21: Callable[..., Any]) -> CheckResult:
    """Top-1 of 2. (3, 2) − (0, 0): sends 3, g = (3, 0). (4, 2) − (3, 0): sends 2, g = (3, 2). (0, 1) − (3, 2): sends
    −3, g = (0, 2). The bytes are top-1's of these differences, and decoded alone they are what is sent. Coded as a
    cohort of one it is the same."""
    codec = ef21(TopK(0.5))
    state, held = codec.init(2), np.zeros(2, np.float32)
    rows = np.zeros((1, 2), np.float32), None
    results = []
    for x, change, sent, memory in (
        ((3, 2), (3, 2), (3, 0), (3, 0)),
        ((4, 2), (1, 2), (0, 2), (3, 2)),
        ((0, 1), (-3, -1), (-3, 0), (0, 2)),
    ):
        data, state = codec.encode(np.array(x, np.float32), state, DRAW)
        found, held = codec.receive(data, held)
        by_hand = np.frombuffer(packet(TopK(0.5), change), np.uint8)
        results.append(same_bits(np.frombuffer(data, np.uint8), by_hand))
        results.append(close([codec.decode(data, 2), found, held, state[0]], [sent, memory, memory, memory], atol=0))
    signs = ef21(Sign())  # of (3, −1) it is ±2, and of (3, −1) − (2, −2), all positive, 1: g = (3, −1)
    for memory in ((2, -2), (3, -1)):
        data, rows = signs.encode_rows(np.array([[3, -1]], np.float32), rows, lambda _: DRAW)
        results.append(close(rows[0], [memory], atol=0))
    step = np.frombuffer(packet(Sign(), [1, 1]), np.uint8)
    results += [same_bits(data[0], step), close(signs.decode_rows(data, 2), [[1, 1]], atol=0)]
    return every(*results)


def of_a_vector_that_stands_still_all_arrives(ef21: Callable[..., Any]) -> CheckResult:
    """‖x − g'‖² ≤ (1 − k/n) ‖x − g‖² of top-k, whose numbers arrive as they are: after n / k = 20 steps g is x."""
    results = []
    for x in VECTORS.values():
        x = x[:2000].astype(np.float32)
        codec, left = ef21(TopK(0.05)), square(x)
        state = codec.init(x.size)
        for _ in range(20):
            _, state = codec.encode(x, state, DRAW)
            after = square(x.astype(np.float64) - state[0])
            results.append(below(after, 0.95 * left * (1 + 1e-6) + 1e-30))
            left = after
        results.append(close(state[0], x, atol=0))
    return every(*results)


def both_sides_have_the_same_memory(ef21: Callable[..., Any]) -> CheckResult:
    """Over 100 rounds of vectors that move, bit for bit, and the bytes are at most those that C states."""
    results, rng = [], np.random.default_rng(1)
    for inner in (TopK(0.05), STC(0.05), Sign()):
        codec, held, x = ef21(inner), np.zeros(400, np.float32), rng.standard_normal(400).astype(np.float32)
        state = codec.init(400)
        for _ in range(100):
            x = (x + 0.1 * rng.standard_normal(400)).astype(np.float32)
            data, state = codec.encode(x, state, DRAW)
            found, held = codec.receive(data, held)
            results.append(same_bits([state[0], found], [held, held]))
            most = codec.num_bytes(400) if codec.traits.fixed_bytes else codec.max_bytes(400)
            results.append(below(len(data), most + 1))
    return every(*results)


def descent_that_top_1_alone_cannot_do(ef21: Callable[..., Any]) -> CheckResult:
    """Beznosikov et al., arXiv:2002.12410, example 1: three nodes f = <a, x>² + ¼ ‖x‖², a = (−3, 2, 2) and so on, from
    (1, 1, 1), steps of .1. Top-1 alone multiplies x by 1 + 1.1 / 6 a step. With memories x goes to 0, the minimum: its
    least curvature is 7/6, so 100 plain steps leave (1 − .1167)^100 = 4e-6, and 1e-5 are allowed."""
    nodes = np.array([[-3, 2, 2], [2, -3, 2], [2, 2, -3]], np.float64)
    codec, x, held = ef21(TopK(1 / 3)), np.ones(3), np.zeros((3, 3), np.float32)
    states = [codec.init(3) for _ in nodes]
    for _ in range(100):
        for k, a in enumerate(nodes):
            data, states[k] = codec.encode((2 * (a @ x) * a + x / 2).astype(np.float32), states[k], DRAW)
            held[k] = codec.receive(data, held[k])[0]
        x = x - 0.1 * held.mean(0, dtype=np.float64)
    return below(np.abs(x).max(), 1e-5)


CHECKS = (
    three_steps_by_hand,
    of_a_vector_that_stands_still_all_arrives,
    both_sides_have_the_same_memory,
    descent_that_top_1_alone_cannot_do,
)
