"""A recorded call as machine code, built by the C++ compiler that is there and kept for later runs."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fedmtl.core.machine import machine
from fedmtl.core.own_cache import is_own, own_cache
from fedmtl.engines.base import LazyRows
from fedmtl.engines.trace.codegen import Native
from fedmtl.engines.trace.cpp.parts import PARTS
from fedmtl.engines.trace.cpp.shares import Unlike
from fedmtl.engines.trace.cpp.source import to_cpp
from fedmtl.engines.trace.graph import Recording

FLAGS = (
    "-O3 -march=native -std=c++17 -shared -fPIC -w -fno-math-errno -fno-trapping-math -fno-signed-zeros "
    "-fassociative-math"
).split()
"""Sums in another order; NaN and infinity stay what they are."""

BUILD_S = 120.0

_MOST_BYTES = 2**28
"""Of a library."""


def compile_natively(
    recording: Recording, tensors: Sequence[Tensor], stacked: Sequence[bool], batches: int | None = None
) -> Native:
    """The call as machine code, for any number of clients.

    Args:
        recording: of a call.
        tensors: inputs like those that it was recorded with.
        stacked: which of them have a row for each client, the others are everybody's.
        batches: number of the first input that may also be ``LazyRows``, whose rows are read in place.

    Raises:
        Unlike: a call that this is not for, see ``to_cpp``.
        OSError: no C++ compiler, one that fails, or a cache folder that is another user's.
    """
    if any(tensor.device.type != "cpu" for tensor in tensors):
        raise Unlike("tensors on a GPU")
    clients = next((len(tensor) for tensor, own in zip(tensors, stacked, strict=True) if own), 0)
    source = to_cpp(recording, tensors, stacked, clients, batches)
    call = _function(PARTS + source.text)
    held, made, indexed = source.constants, source.outputs, source.indexed
    count = len(tensors) + len(held) + len(made) + len(indexed)
    in_order = {place: torch.arange(tensors[place].shape[:2].numel()) for place in indexed}
    first = stacked.index(True)

    def program(inputs: Sequence[Tensor | LazyRows], places: Sequence[Tensor | None] = ()) -> list[Tensor]:
        read, index, steps = list[Tensor](), list[Tensor](), list[int]()
        for place, item in enumerate(inputs):
            if place not in in_order:
                read.append(item.copy() if isinstance(item, LazyRows) else item)
                steps.append(read[-1].stride(0) if stacked[place] else 0)
                continue
            if isinstance(item, LazyRows):
                index.append(item.index.contiguous())
            else:
                if len(in_order[place]) < item.shape[:2].numel():
                    in_order[place] = torch.arange(item.shape[:2].numel())
                index.append(in_order[place])
            read.append(item.source if isinstance(item, LazyRows) else item)
            steps.append(0)
        rows = inputs[first].shape[0]
        results = []
        for (shape, dtype), place in zip(made, places or [None] * len(made), strict=True):
            if place is None or (place.dtype, place.shape) != (dtype, (rows, *shape)) or not place[0].is_contiguous():
                place = torch.empty(rows, *shape, dtype=dtype)
            results.append(place)
        pointers = (ctypes.c_void_p * count)(*[t.data_ptr() for t in (*read, *held, *results, *index)])
        steps += [result.stride(0) for result in results]
        call(rows, pointers, (ctypes.c_int64 * len(steps))(*steps))
        return results

    return program


@cache
def _function(text: str) -> Any:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        raise OSError("there is no C++ compiler: install g++, or name one in CXX")
    picture = "\n".join([machine(), compiler, *FLAGS, text])
    path = own_cache("native") / f"{hashlib.sha256(picture.encode()).hexdigest()[:32]}.so"
    if not is_own(path, _MOST_BYTES):
        draft = path.with_suffix(f".{os.getpid()}.draft")
        command = [compiler, *FLAGS, "-x", "c++", "-", "-o", str(draft)]
        try:
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=BUILD_S, check=False)
            if done.returncode:
                raise OSError(f"{compiler} fails: {done.stderr.strip().splitlines()[:3]}")
            draft.chmod(0o700)
            os.replace(draft, path)
        except subprocess.TimeoutExpired:
            raise OSError(f"{compiler} takes more than {BUILD_S:g} s") from None
        finally:
            draft.unlink(missing_ok=True)
    function = ctypes.CDLL(str(path)).program
    function.argtypes, function.restype = [ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p], None
    return function
