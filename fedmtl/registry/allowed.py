"""Modules that a preset, a setting or a run folder may have imported.

A file is not a program. It names components of fedmtl; a component of a user's own, ``module:Name``, comes only from
a module in the preset's own folder, or from one that ``--allow`` or the Python caller names. Its source is read before
it is imported: the name is a class, or an object, with the methods of its kind, and never anything else to be called.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from fedmtl.core.bounds import shown
from fedmtl.registry.declared import Module, file_of, missing_methods_of

RUN_MARKS = (
    "fedmtl.manifest",
    "checkpoint",
    "summary.json",
    "environment.json",
    *("rounds.columns", "ledger.columns"),
    *("rounds.jsonl", "ledger.jsonl"),
)
"""Files of a run folder: one beside these is what a run wrote, and not a preset of the user's."""


@dataclass(frozen=True)
class Allowed:
    """Folders and modules that imports may come from.

    Raises:
        ValueError: a module that is neither a dotted name nor a file that ends in ``.py``.
    """

    folder: Path | None = None
    """The preset's own; None where there is none."""
    modules: tuple[str, ...] = ()
    """Modules and packages, with what is below them, or paths of files: ``my_package`` or ``methods/mine.py``."""

    def __post_init__(self) -> None:
        for entry in self.modules:
            if _is_path(entry):
                if not Path(entry).is_file() or not Path(entry).stem.isidentifier():
                    raise ValueError(f"--allow {shown(entry)}: there is no such module; name a .py file that is there.")
            elif not all(part.isidentifier() for part in entry.split(".")):
                raise ValueError(f"--allow names a module, such as my_package, or a .py file, got {shown(entry)}.")

    def find(self, module: str) -> Module:
        """The source of a module that is allowed.

        Raises:
            ValueError: a module that is not allowed, has no source, or is hidden by another of its name.
        """
        if len(module) > 200 or not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"no module {shown(module)} may be imported: a module is named by words with dots between")
        top = module.split(".")[0]
        roots = [self.folder] if self.folder else []
        roots += [Path(entry).parent for entry in self.modules if _is_path(entry) and Path(entry).stem == top]
        for root in roots:
            path = file_of(root, module)
            if path is not None:
                _check_not_hidden(top, root.resolve())
                return Module(module, path, root.resolve())
        if any(module == entry or module.startswith(f"{entry}.") for entry in self.modules):
            root = _root_of(top)
            path = file_of(root, module) if root else None
            if root is not None and path is not None:
                return Module(module, path, root)
            raise ValueError(
                f"no module {module!r} with a source; install it, or run where it lies in the current folder"
            )
        place = "none is known here" if self.folder is None else f"{str(self.folder)!r} has none"
        raise ValueError(
            f"no module {module!r} may be imported: it comes from the preset's own folder ({place}), or is allowed by "
            f"--allow {top} (from Python, allow=[{top!r}]; on a Flower node, --node-config or FEDMTL_ALLOW)"
        )


NOTHING = Allowed()
"""Components of fedmtl only."""


def beside(preset: Path, allow: Iterable[str] = ()) -> Allowed:
    """Modules that a preset may name: those of its folder, unless that is a run's, and those that are allowed."""
    file = preset.resolve()
    folder = file.parent
    is_resolved = "experiment.toml" in (preset.name, file.name)
    of_run = is_resolved or any(os.path.lexists(folder / mark) for mark in RUN_MARKS)
    return Allowed(None if of_run else folder, tuple(allow))


def read_own(kind: str, methods: Sequence[str], name: str, allowed: Allowed) -> Module:
    """The module in whose source ``module:Name`` is a component of a kind; it is not imported.

    Raises:
        ValueError: a module that is not allowed, or a name that is no component of the kind by the source.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute.isidentifier():
        raise ValueError(f"{kind} {shown(name)}: an import path is written 'package.module:Name'.")
    try:
        source = allowed.find(module)
        missing = missing_methods_of(source, attribute, methods)
    except ValueError as error:
        raise ValueError(f"{kind} {shown(name)}: {error}.") from None
    if missing is None:
        raise ValueError(
            f"{kind} {shown(name)}: module {module} has no {attribute!r} that is a component; "
            f"{_rule(kind, methods, name)}."
        )
    if missing:
        raise ValueError(f"{kind} {shown(name)} is without {', '.join(missing)}; {_rule(kind, methods, name)}.")
    return source


def _rule(kind: str, methods: Sequence[str], name: str) -> str:
    module = f", and an nn.Module is written FromModule(module={shown(name)})" if kind == "model" else ""
    return f"a component of this kind is a class, or an object of one, with the methods {', '.join(methods)}{module}"


def load_own(kind: str, methods: Sequence[str], name: str, allowed: Allowed) -> Any:
    """The class or the object that ``module:Name`` stands for: read, then imported, then looked at again.

    Raises:
        ValueError: as ``read_own``, or a module that cannot be imported or turns out to hold something else.
    """
    module = _import(kind, name, read_own(kind, methods, name, allowed))
    found = getattr(module, name.partition(":")[2], None)
    missing = [method for method in methods if not callable(getattr(found, method, None))]
    if missing:
        raise ValueError(
            f"{kind} {name!r}: got {shown(found)}, without {', '.join(missing)}; {_rule(kind, methods, name)}."
        )
    return found


def _import(kind: str, name: str, source: Module) -> Any:
    """The module, from the file that was read; modules beside it are found by it, and by Ray's workers."""
    folder, top = str(source.root), source.name.split(".")[0]
    is_new = folder not in sys.path
    if is_new:
        sys.path.append(folder)
    try:
        _check_not_hidden(top, source.root)
        module = importlib.import_module(source.name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{kind} {name!r}: no module {error.name!r}, which it needs; install it.") from error
    except Exception as error:
        if is_new:
            sys.path.remove(folder)
        text = f"{type(error).__name__}: {shown(str(error))}"
        raise ValueError(f"{kind} {name!r}: {source.path} cannot be imported ({text}); mend it.") from error
    if Path(module.__file__ or "").resolve() != source.path:
        raise ValueError(
            f"{kind} {name!r}: a module of that name was imported from {module.__file__!r} before, and not from "
            f"{str(source.path)!r}; give it a name of its own."
        )
    return module


def _check_not_hidden(top: str, root: Path) -> None:
    """Refuse a module whose name means another one to Python: importing it would import that.

    Raises:
        ValueError: it names the other.
    """
    spec = _spec_of(top)
    if spec is None or (_lies_in(spec, root) and _is_source(spec)):
        return
    where = spec.origin or next(iter(spec.submodule_search_locations or ()), None) or "another folder"
    raise ValueError(f"a module {top!r} is known from {where}, which hides the one in {str(root)!r}; rename yours")


def _root_of(top: str) -> Path | None:
    """The folder in which a top-level module is installed; else the current folder, where it has one."""
    spec = _spec_of(top)
    if spec is None:
        here = Path.cwd()
        return here if (here / f"{top}.py").is_file() or (here / top).is_dir() else None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve().parent
    return Path(spec.origin).resolve().parent if spec.origin and spec.has_location else None


def _spec_of(top: str) -> ModuleSpec | None:
    """Return the place of a top-level module; nothing is run."""
    importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(top)
    except (ValueError, ImportError):  # a module in sys.modules without a spec, such as __main__
        return ModuleSpec(top, None, origin="this program")


def _lies_in(spec: ModuleSpec, root: Path) -> bool:
    places = list(spec.submodule_search_locations or ()) or ([spec.origin] if spec.origin else [])
    return bool(places) and all(Path(place).resolve().parent == root.resolve() for place in places)


def _is_source(spec: ModuleSpec) -> bool:
    """Return True if Python would run the source, and not a compiled library beside it."""
    return spec.origin is None or spec.origin.endswith(".py")


def _is_path(entry: str) -> bool:
    return entry.endswith(".py") or os.sep in entry
