"""Machine code of a graph, built by the machine's C++ compiler and cached on disk."""

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
from fedmtl.engines.trace.codegen import NativeFunction, Unsupported
from fedmtl.engines.trace.cpp.parts import PARTS
from fedmtl.engines.trace.cpp.source import to_cpp
from fedmtl.engines.trace.graph import Graph

FLAGS = (
    "-O3 -march=native -std=c++17 -shared -fPIC -w -fno-math-errno -fno-trapping-math -fno-signed-zeros "
    "-fassociative-math"
).split()
"""Sums may be reordered; NaN and infinity keep their meaning."""

BUILD_S = 120.0
"""Most seconds of a build."""

_MOST_BYTES = 2**28
"""Largest library in the cache."""


def compile_natively(
    graph: Graph, tensors: Sequence[Tensor], stacked: Sequence[bool], batches: int | None = None
) -> NativeFunction:
    """Compile a graph to machine code for any number of clients.

    Args:
        graph: of a call.
        tensors: inputs like those of the traced call.
        stacked: True for inputs with a row for each client, False for those that all clients share.
        batches: number of the first input that may also be ``LazyRows``, whose rows are read in place.

    Raises:
        Unsupported: an operation, a type or a layout without C++, or tensors on a GPU.
        OSError: no C++ compiler, one that fails, or a cache folder of another user.
    """
    if any(tensor.device.type != "cpu" for tensor in tensors):
        raise Unsupported("tensors on a GPU")
    clients = next((len(tensor) for tensor, own in zip(tensors, stacked, strict=True) if own), 0)
    source = to_cpp(graph, tensors, stacked, clients, batches)
    call = _function(PARTS + source.text)
    held, made, indexed = source.constants, source.outputs, source.indexed
    count = len(tensors) + len(held) + len(made) + len(indexed)
    in_order = {place: torch.arange(tensors[place].shape[:2].numel()) for place in indexed}
    first = stacked.index(True)

    def replay(inputs: Sequence[Tensor | LazyRows], buffers: Sequence[Tensor | None] = ()) -> list[Tensor]:
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
        for (shape, dtype), buffer in zip(made, buffers or [None] * len(made), strict=True):
            whole = (rows, *shape)
            if buffer is None or (buffer.dtype, buffer.shape) != (dtype, whole) or not buffer[0].is_contiguous():
                buffer = torch.empty(whole, dtype=dtype)
            results.append(buffer)
        pointers = (ctypes.c_void_p * count)(*[t.data_ptr() for t in (*read, *held, *results, *index)])
        steps += [result.stride(0) for result in results]
        call(rows, pointers, (ctypes.c_int64 * len(steps))(*steps))
        return results

    return replay


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
