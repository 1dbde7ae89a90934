"""Megabytes of float32 a second that each codec encodes and decodes, on one thread, and its bits and error.

    python simulations/benchmarks/codecs.py --numbers 1000000

An update of Gaussian numbers, for codecs of matrices one of 1,000 columns; megabytes are those of the vector, over the
seconds of encode and decode together. They are seconds of the processor, of the fastest turn: other work on the machine
counts less.
"""

import argparse
import os
import time
from typing import Any

import numpy as np
import torch

from fedmtl.codecs.layout import as_layout, layout_of
from fedmtl.codecs.stated import stated_bytes
from fedmtl.registry.components import REGISTRY, make

LEAST = 100.0
"""Megabytes a second that every codec must reach."""
LEAST_OF_ENTROPY = 50.0
"""The same, for codecs whose bytes depend on the numbers, which count bits, and for PowerSGD, which multiplies."""


def measure(codec: Any, x: np.ndarray, turns: int) -> tuple[float, float, int, float]:
    """Return the least seconds to encode and to decode, the bytes, and ‖x' - x‖² / ‖x‖²."""
    layout = layout_of([("trunk/weight", (x.size // 1000, 1000))]) if codec.traits.by_layout else as_layout(x.size)
    codec = codec.bind(layout) if codec.traits.by_layout else codec
    state, seconds = codec.init(layout), []
    found, data = x, b""
    for turn in range(turns):
        rng, start = np.random.default_rng(turn), time.process_time()
        data, _ = codec.encode(x, state, rng)
        middle = time.process_time()
        found = codec.decode(data, x.size)
        seconds.append((middle - start, time.process_time() - middle))
    error = float(np.square(found.astype(np.float64) - x).sum() / np.square(x, dtype=np.float64).sum())
    return min(one for one, _ in seconds), min(other for _, other in seconds), len(data), error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=1_000_000, help="of the update")
    parser.add_argument("--turns", type=int, default=7, help="of each codec")
    parser.add_argument("--codec", action="append", help="one of them, such as 'TopK(0.01)'; all without it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    x = np.random.default_rng(0).standard_normal(args.numbers, np.float32)
    names = [name for name in REGISTRY["codec"] if name != "Chain"]
    print(f"{'codec':<42}{'bits':>8}{'NMSE':>10}{'encode ms':>11}{'decode ms':>11}{'MB/s':>8}")
    for codec in (make("codec", text) for text in args.codec or names):
        encode, decode, length, error = measure(codec, x, args.turns)
        rate = 4 * x.size / 1e6 / (encode + decode)
        least = LEAST if stated_bytes(codec, x.size).exact and not codec.traits.by_layout else LEAST_OF_ENTROPY
        below = "" if rate >= least else f"  below {least:g}"
        bits = f"{8 * length / x.size:8.3f}{error:10.2e}"
        print(f"{codec!r:<42}{bits}{1e3 * encode:11.1f}{1e3 * decode:11.1f}{rate:8.0f}{below}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
