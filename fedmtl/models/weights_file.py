"""Tensors from a file of weights, safetensors or a state-dict of torch: no object in it is made, and nothing is run."""

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from fedmtl.core.bounds import check_text, shown
from fedmtl.core.suggest import did_you_mean

INSIDE = ("state_dict", "model_state_dict", "model")
"""Keys under which a checkpoint of others holds its state-dict, beside an optimizer's and the like."""

SCALE = ".scale"
"""End of a tensor's name that holds the steps of a tensor of int8, one for each row: its numbers are their product."""

_SAVE = "save it again, as torch.save(model.state_dict(), path) or by safetensors.torch.save_file"


def read_weights(path: str, sha256: str = "") -> dict[str, Tensor]:
    """Name -> tensor of a file; floating-point numbers as float32.

    Args:
        path: of the file, whose content says what it is.
        sha256: of its bytes; empty for any.

    Raises:
        ValueError: another kind of file, one that is damaged, larger than memory, or has other bytes.
        OSError: no such file.
    """
    data = _bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise ValueError(
            f"weights {path!r} are others: their SHA-256 is {found[:12]}…, and sha256 says {shown(sha256[:12])[1:-1]}…"
            "; place the file that is meant, or mend sha256."
        )
    tensors = _safetensors(path, data) if data[8:9] == b"{" else _state_dict(path, data)
    return {name: _plain(path, name, value, tensors) for name, value in tensors.items() if not _is_scale(name, tensors)}


def digest_of(path: str) -> str:
    """The SHA-256 of a file of weights.

    Raises:
        ValueError, OSError: as ``read_weights``.
    """
    found = _regular(path)
    return _digest(os.path.abspath(path), found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, size: int, changed: int) -> str:
    """SHA-256 of a file, which is read again once its size or time of change is another."""
    return hashlib.sha256(_bytes(path)).hexdigest()


def _regular(path: str) -> os.stat_result:
    """Refuse what is no file, such as a pipe, which would be waited for."""
    check_text("weights", path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no file of weights {path!r}, seen from {os.getcwd()!r}: each node reads it from its own disk; "
            "place it there, or give its whole path."
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"weights are a file, safetensors or a state-dict, and {path!r} is none; name a file.")
    return found


def _bytes(path: str) -> bytes:
    size, memory = _regular(path).st_size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise ValueError(
            f"weights {path!r} have {size / 1e9:.1f} GB and this machine {memory / 1e9:.1f} GB of memory; take a "
            "smaller model, or save its trunk alone."
        )
    with open(path, "rb") as file:
        return file.read()


def _safetensors(path: str, data: bytes) -> dict[str, Tensor]:
    try:
        return load_safetensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"weights {path!r} are no whole safetensors file ({_line(error)}); {_SAVE}.") from error


def _state_dict(path: str, data: bytes) -> dict[str, Tensor]:
    try:
        # weights_only: tensors and plain values are read; whatever else a pickle would make or call is refused.
        with warnings.catch_warnings(action="ignore"):  # of torch, about pickles that it then refuses
            found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"weights {path!r} are neither safetensors nor a state-dict of tensors alone, and objects of other classes "
            f"are not unpickled ({type(error).__name__}: {_line(error)}); {_SAVE}."
        ) from error
    if isinstance(found, Mapping) and found and not any(isinstance(value, Tensor) for value in found.values()):
        found = next((found[key] for key in INSIDE if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"weights {path!r} hold {shown(type(found).__name__)[1:-1]}, and no state-dict; {_SAVE}.")
    for name, value in found.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise ValueError(
                f"weights {path!r} are no state-dict: {shown(name)} is a {type(value).__name__}, and no tensor with a "
                f"name; {_SAVE}.{did_you_mean(name, INSIDE)}"
            )
    return dict(found)


def _is_scale(name: str, tensors: Mapping[str, Tensor]) -> bool:
    weights = tensors.get(name.removesuffix(SCALE)) if name.endswith(SCALE) else None
    return weights is not None and weights.dtype == torch.int8


def _plain(path: str, name: str, value: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return a tensor as it is computed with."""
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise ValueError(f"weights {path!r}: {name} is no plain tensor of numbers ({value.layout}); {_SAVE}.")
    scale = tensors.get(f"{name}{SCALE}") if value.dtype == torch.int8 else None
    if scale is not None:
        if scale.shape != value.shape[:1] or not scale.is_floating_point():
            raise ValueError(
                f"weights {path!r}: {name}{SCALE} has shape {tuple(scale.shape)}, but {name} {tuple(value.shape)} has "
                f"a scale for each of its {len(value)} rows; {_SAVE}."
            )
        value = value.float() * scale.float().reshape(-1, *[1] * (value.ndim - 1))
    found = value.detach().float() if value.is_floating_point() else value.detach()
    if found.is_floating_point() and not bool(found.isfinite().all()):
        raise ValueError(f"weights {path!r}: {name} holds NaN or infinity; take the file of a model that converged.")
    return found


def _line(error: Exception) -> Any:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
