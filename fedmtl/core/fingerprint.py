"""Fingerprints of Python objects by what they are made of: equal in every process for equal content.

No address and no order of a set goes in. Classes and functions of fedmtl, of Python and of installed packages count by
name; those of the user by their code: bytecode, constants, defaults, closures, and the functions, classes and plain
values of their module that they use. An object may have a method ``fingerprint()`` that returns what it is to be
compared by; else its state counts as ``pickle`` would take it, so that ``__getstate__`` decides.
"""

import dataclasses
import enum
import functools
import types
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from xxhash import xxh3_128

from fedmtl.core.code_names import GENERATED, NO_CONTENT, cell_content, class_name, global_names, is_installed

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented), range)


@runtime_checkable
class OwnFingerprint(Protocol):
    """An object with its own content for comparisons."""

    def fingerprint(self) -> Any: ...


class NoFingerprint(ValueError):
    """An object whose content cannot be read: an open file, a lock, a generator that is running."""


def fingerprint(value: Any) -> str:
    """32 digits and letters.

    Raises:
        NoFingerprint: it says which part has none, and why.
    """
    return _Reader().digest(value).hex()


def parts(value: Any) -> dict[str, str]:
    """The fingerprint of an object's class ("code"), and of each of its fields.

    Raises:
        NoFingerprint: as for ``fingerprint``.
    """
    reader = _Reader()
    found = {"code": reader.digest(type(value)).hex()}
    fields = _fields(value)
    if fields is None:
        return {**found, "content": reader.digest(value).hex()}
    for name, item in fields.items():
        try:
            found[str(name)] = reader.digest(item).hex()
        except NoFingerprint as error:
            raise NoFingerprint(f"{name}: {error}") from None
    return found


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """Fields of a dataclass, or the attributes of a plain object."""
    if _own_fingerprint(value) is not None:
        return None
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if type(value).__reduce_ex__ is object.__reduce_ex__ and type(value).__reduce__ is object.__reduce__:
        try:
            reduced: tuple[Any, ...] = (*value.__reduce_ex__(4), None, None, None)
            _, arguments, state, items, pairs = reduced[:5]
        except TypeError:  # no content that Python knows; the caller reports it
            return None
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # of a class with slots
            state = {**(state[0] or {}), **state[1]}
        if (items, pairs) == (None, None) and len(arguments) == 1 and isinstance(state, dict | None):
            return _kept(type(value), state or {})
    return None


def _own_fingerprint(value: Any) -> Callable[[], Any] | None:
    own = None if isinstance(value, type) or not isinstance(value, OwnFingerprint) else value.fingerprint
    return own if isinstance(own, types.MethodType) else None


def _kept(cls: type, state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Attributes without those that are worked out on first use and then remembered."""
    return {
        name: item
        for name, item in state.items()
        if not (isinstance(name, str) and isinstance(getattr(cls, name, None), functools.cached_property))
    }


class _Reader:
    """One reading: remembers classes and functions, and knows what it is inside of."""

    def __init__(self) -> None:
        self._inside: set[int] = set()
        self._code: dict[int, tuple[Any, bytes]] = {}

    def digest(self, value: Any) -> bytes:
        if type(value) in _PLAIN:
            return _hash(type(value).__name__, repr(value).encode())
        if isinstance(value, np.ndarray | Tensor) and type(value) in (np.ndarray, np.memmap, Tensor):
            return self._array(value)
        if id(value) in self._code:
            return self._code[id(value)][1]
        if id(value) in self._inside:  # a circle: it has been entered already
            return _hash("circle", type(value).__qualname__.encode())
        self._inside.add(id(value))
        try:
            found = self._composed(value)
        except RecursionError:
            raise NoFingerprint(f"{class_name(type(value))} is nested too deeply") from None
        finally:
            self._inside.discard(id(value))
        if isinstance(value, type | types.FunctionType):
            self._code[id(value)] = value, found
        return found

    def _array(self, value: Any) -> bytes:
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.is_quantized:
                return self._reduced(value)
            flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            head = f"{value.dtype}{tuple(value.shape)}".encode()
            return _hash("tensor", head, flat.view(torch.uint8).numpy().data if flat.numel() else b"")
        if value.dtype.hasobject:
            return _hash("objects", repr(value.shape).encode(), *map(self.digest, value.ravel().tolist()))
        head = f"{value.dtype.descr}{value.shape}".encode()
        return _hash("array", head, np.ascontiguousarray(value).reshape(-1).view(np.uint8).data if value.size else b"")

    def _composed(self, whole: Any) -> bytes:
        value: Any = whole
        own = _own_fingerprint(value)
        if own is not None:
            return _hash("own", self.digest(type(value)), self.digest(own()))
        if isinstance(value, enum.Enum):
            return _hash("enum", class_name(type(value)).encode(), value.name.encode())
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.CodeType):
            return self._bytecode(value)
        if isinstance(value, types.ModuleType):
            return _hash("module", value.__name__.encode())
        if isinstance(value, types.MethodType):
            return _hash("method", self.digest(value.__func__), self.digest(value.__self__))
        if isinstance(value, staticmethod | classmethod):
            return _hash(type(value).__name__, self.digest(value.__func__))
        if isinstance(value, property):
            return _hash("property", *map(self.digest, (value.fget, value.fset, value.fdel)))
        if isinstance(value, functools.cached_property):
            return _hash("cached_property", self.digest(value.func))
        wrapped = None if isinstance(value, type) else getattr(value, "__wrapped__", None)
        if isinstance(wrapped, types.FunctionType):
            return _hash("wrapped", class_name(type(value)).encode(), self.digest(wrapped))
        if isinstance(value, np.generic):
            return _hash("number", value.dtype.str.encode(), value.tobytes())
        if isinstance(value, np.dtype | torch.dtype | torch.device | torch.Size):
            return _hash("type", str(value).encode())
        if isinstance(value, dict | types.MappingProxyType) and type(value).__module__ in ("builtins", "collections"):
            return _hash("table", *self._pairs(value))
        kind: Any = type(value)
        if kind in (list, tuple):
            return _hash(type(value).__name__, *map(self.digest, whole))
        if kind in (set, frozenset):
            return _hash(type(value).__name__, *sorted(map(self.digest, whole)))
        if kind in (bytearray, memoryview):
            return _hash(type(value).__name__, bytes(whole))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return _hash("fields", self.digest(type(value)), *map(self.digest, whole))
        if dataclasses.is_dataclass(value):
            return _hash("dataclass", self.digest(type(value)), *self._pairs(_fields(value) or {}))
        return self._reduced(value)

    def _pairs(self, values: Mapping[Any, Any]) -> list[bytes]:
        return sorted(self.digest(key) + self.digest(value) for key, value in values.items())

    def _reduced(self, value: Any) -> bytes:
        """Return the state of an object that ``pickle`` would keep."""
        fields = _fields(value)
        if fields is not None:
            return _hash("object", self.digest(type(value)), *self._pairs(fields))
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:
            raise NoFingerprint(f"{class_name(type(value))} has no content to compare ({str(error)[:100]})") from None
        if isinstance(reduced, str):
            return _hash("name", str(getattr(value, "__module__", "")).encode(), reduced.encode())
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        if isinstance(state, dict):
            state = _kept(type(value), state)
        found = (make, arguments, state, list(items or ()), dict(pairs or ()))
        return _hash("reduced", self.digest(type(value)), *map(self.digest, found))

    def _class(self, cls: type) -> bytes:
        if is_installed(cls.__module__):
            return _hash("class", class_name(cls).encode())
        skip = NO_CONTENT | (GENERATED if dataclasses.is_dataclass(cls) else frozenset())
        hidden = types.MemberDescriptorType, types.GetSetDescriptorType
        content = []
        for name, item in sorted(vars(cls).items()):
            generated = isinstance(item, types.FunctionType) and item.__code__.co_filename == "<string>"
            if (name in skip and (name in NO_CONTENT or generated or item is None)) or isinstance(item, hidden):
                continue
            content += [name.encode(), self.digest(item)]
        return _hash("class", cls.__qualname__.encode(), *map(self.digest, cls.__bases__), *content)

    def _function(self, function: types.FunctionType) -> bytes:
        if is_installed(function.__module__):
            return _hash("function", f"{function.__module__}.{function.__qualname__}".encode())
        cells = [cell_content(cell) for cell in function.__closure__ or ()]
        names = sorted(set(global_names(function.__code__)))
        used = {name: function.__globals__[name] for name in names if name in function.__globals__}
        constant = (*_PLAIN, types.FunctionType, type, types.ModuleType, tuple, frozenset, np.ndarray, Tensor)
        return _hash(
            "function",
            self._bytecode(function.__code__, function.__doc__),
            self.digest(function.__defaults__),
            self.digest(function.__kwdefaults__),
            self.digest(cells),
            *self._pairs({name: item for name, item in used.items() if isinstance(item, constant)}),
        )

    def _bytecode(self, code: types.CodeType, doc: str | None = None) -> bytes:
        constants = [item for index, item in enumerate(code.co_consts) if index or doc is None or item != doc]
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        return _hash("code", code.co_code, *map(self.digest, (counts, names, constants)))


def _hash(kind: str, *pieces: Any) -> bytes:
    """Hash pieces, each with its length."""
    found = xxh3_128(kind.encode())
    for piece in pieces:
        found.update(f"{len(piece)}:".encode())
        found.update(piece)
    return found.digest()
