"""State <-> bytes: the arrays of a tree with a checksum and the hash of its structure."""

import json
import struct
import zlib
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import Tensor

from fedmtl.client.state.base import OtherState, StateError
from fedmtl.core.trees import tree_leaves, tree_structure, tree_unflatten

_HEAD = struct.Struct("<4sI8s")
_CRC = struct.Struct("<I")
_MAGIC = b"fmst"


def state_to_bytes(tree: Any, note: dict[str, Any] | None = None) -> bytes:
    """Encode a tree of arrays and a note of plain values: magic, note length, structure hash, note, arrays, CRC-32."""
    arrays = {}
    for index, leaf in enumerate(tree_leaves(tree)):
        array = leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
        arrays[f"{index}"] = np.ascontiguousarray(array).reshape(array.shape)
    text = json.dumps(note or {}, sort_keys=True).encode()
    blob = _HEAD.pack(_MAGIC, len(text), _schema(tree)) + text + save_arrays(arrays)
    return blob + _CRC.pack(zlib.crc32(blob))


def state_from_bytes(data: bytes, template: Any) -> tuple[Any, dict[str, Any]]:
    """Decode a tree with the structure of ``template``, and the note.

    Raises:
        StateError: damaged bytes, or a tree of another structure.
    """
    if len(data) < _HEAD.size + _CRC.size or zlib.crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise StateError(f"{len(data)} bytes of stored state do not fit their checksum: truncated or damaged.")
    magic, length, schema = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise StateError(f"Stored state starts with {_MAGIC!r}, got {magic!r}: this is another kind of file.")
    if schema != _schema(template):
        raise OtherState(
            "The stored state has other arrays than this experiment's: it was written with another model, algorithm "
            "or codec. Use another state folder, or go back to that experiment."
        )
    note = json.loads(data[_HEAD.size : _HEAD.size + length])
    arrays = load_arrays(data[_HEAD.size + length : -_CRC.size])
    restored = []
    for index, leaf in enumerate(tree_leaves(template)):
        array = arrays[f"{index}"]
        restored.append(torch.from_numpy(array.copy()) if isinstance(leaf, Tensor) else array)
    return tree_unflatten(template, restored), note


def _schema(tree: Any) -> bytes:
    return blake2b(repr(tree_structure(tree)).encode(), digest_size=8).digest()
