"""Names in Python's objects: of classes, of the globals of code, and of installed modules."""

import sys
import sysconfig
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_INSTALLED = tuple(
    {str(Path(path).resolve()) for name, path in sysconfig.get_paths().items() if "lib" in name or "std" in name}
)


def cell_content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return None


def global_names(code: types.CodeType) -> Iterable[str]:
    """Global names that code uses, and code inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from global_names(constant)


def is_installed(module: str | None) -> bool:
    """True where a module belongs to fedmtl, to Python or to an installed package."""
    if module is None or module.partition(".")[0] == "fedmtl":
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:  # built in; a script's own and a notebook's are the user's
        return module != "__main__" and module in sys.modules
    path = str(Path(file).resolve())
    return "site-packages" in path or "dist-packages" in path or path.startswith(_INSTALLED)


def class_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


NO_CONTENT = frozenset(
    "__dict__ __weakref__ __module__ __doc__ __qualname__ __annotations__ __firstlineno__ __static_attributes__ "
    "__abstractmethods__ _abc_impl __dataclass_fields__ __dataclass_params__ __match_args__ __parameters__ "
    "__orig_bases__ __classcell__ _is_protocol __protocol_attrs__ __non_callable_proto_members__ __annotate__ "
    "__slotnames__ __annotate_func__ __annotations_cache__ __conditional_annotations__".split()
)
"""Attributes of classes that say nothing of what they do."""


GENERATED = frozenset(
    "__init__ __repr__ __eq__ __lt__ __le__ __gt__ __ge__ __hash__ __setattr__ __delattr__ __getstate__ __setstate__ "
    "__replace__".split()
)
"""Methods that a dataclass writes itself, from its fields."""
