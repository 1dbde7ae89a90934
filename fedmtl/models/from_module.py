"""Any module of torch as a model."""

import ast
import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor, nn

from fedmtl.core.bounds import shown
from fedmtl.core.random import float32_default, torch_seed
from fedmtl.core.types import Params


@dataclass(frozen=True, repr=False)
class FromModule:
    """Any ``nn.Module``: an object, whose weights are the first ones, or a class, whose objects follow the seed.

    | module | the model |
    | --- | --- |
    | ``forward`` gives ``{task: output}`` | it, as it is |
    | ``trunk="backbone", heads={"digit": "fc1"}`` | ``fc1(backbone(x))``, for each task |
    | ``heads="fc"`` | it without its layer ``fc``, in whose place each task has a linear layer of its own |
    | ``trunk="backbone"``, or ``trunk="."`` for all of it | features, from which each task has a linear layer |

    A parameter's name is ``trunk.`` or ``head.<task>.``, and its name in the module. Where ``forward`` gives
    ``{task: output}`` and ``heads`` names none, a task's head is the parameters that no other task's output uses; a
    head may be several submodules, or a glob over names of parameters. The module itself is never changed.

    Raises:
        ValueError: something else than a module, a class or ``"package.module:Name"``, or values that are not plain.
    """

    module: Any = field(metadata={"imported": ("forward",)})
    """An ``nn.Module``, a class or function that makes one, or the import path of a class, "my_model:Net"."""
    trunk: str = ""
    """Name of the submodule that gives features, "." for the module itself; empty: by the outputs."""
    heads: Any = field(default=(), metadata={"plain": True})
    """Task -> name of its submodule, a mapping or lines "task=name"; or the name of the last layer, to be replaced."""
    args: Any = field(default=(), metadata={"plain": True})
    """Arguments of the class, plain values: a mapping, or lines "name=value"."""

    def __post_init__(self) -> None:
        if not isinstance(self.trunk, str):
            raise ValueError(f'FromModule: trunk is the name of a submodule, such as "backbone", got {self.trunk!r}.')
        object.__setattr__(self, "heads", _head_lines(self.heads))
        object.__setattr__(self, "args", _argument_lines(self.args))
        if isinstance(self.module, nn.Module):
            if self.args:
                raise ValueError(
                    f"FromModule: args are for a class, and {type(self.module).__name__} is an object already, got "
                    f"args={self.args}; leave them out, or give the class."
                )
            _copied(self.module)
        self.factory()

    def __repr__(self) -> str:
        given = [f"{each.name}={value!r}" for each in fields(self)[1:] if (value := getattr(self, each.name))]
        own = self.module
        name = repr(own) if isinstance(own, str) else getattr(own, "__name__", f"{type(own).__name__}(…)")
        return f"FromModule({', '.join([name, *given])})"

    def fingerprint(self) -> Any:
        """Return the content for comparisons: weights of an object, code of a class."""
        return self.factory(), self.trunk, self.heads, self.args

    def factory(self) -> Any:
        """Return the object, or the class or function that makes one.

        Raises:
            ValueError: a name that stands for neither.
        """
        found = _imported(self.module) if isinstance(self.module, str) else self.module
        if isinstance(found, nn.Module) or callable(found):
            return found
        raise ValueError(
            f"FromModule takes an nn.Module, a class or function that makes one, or 'package.module:Name', got "
            f"{shown(found)}."
        )

    def make(self) -> nn.Module:
        """Return a copy of the object, or a new one of the class.

        Raises:
            ValueError: the class fails, or makes something else.
        """
        found = self.factory()
        if isinstance(found, nn.Module):
            return _copied(found)
        try:
            made = found(**self.arguments())
        except Exception as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ValueError(
                f"{self!r}: its module cannot be made ({type(error).__name__}: {line}); see args."
            ) from error
        if not isinstance(made, nn.Module):
            raise ValueError(f"{self!r}: it makes {shown(made)}, and not an nn.Module; return a module.")
        return made

    def head_names(self) -> dict[str, tuple[str, ...]]:
        """Task -> names of its submodules, or globs; empty where none or one for all is named."""
        found: dict[str, tuple[str, ...]] = {}
        for line in () if isinstance(self.heads, str) else self.heads:
            task, _, name = line.rpartition("=")
            found[task] = (*found.get(task, ()), name)
        return found

    def arguments(self) -> dict[str, Any]:
        """Name -> value of the arguments of the class."""
        return {name: ast.literal_eval(text) for name, _, text in (line.partition("=") for line in self.args)}

    def network(self, seed: int = 0) -> nn.Module:
        """Return the module with its first weights, under this seed of an experiment."""
        with float32_default(), torch_seed(seed, "trunk"):
            return self.make()

    def state_dict(self, model: nn.Module | Params, seed: int = 0) -> dict[str, Tensor]:
        """Return a trained model's numbers under the module's own names, for its ``load_state_dict``.

        Args:
            model: a client's, or its parameters, such as ``trunk.conv.weight``. Numbers that are not among them stay
                the module's own.
            seed: of the experiment.
        """
        params = (
            {**dict(model.named_parameters()), **dict(model.named_buffers())} if isinstance(model, nn.Module) else model
        )
        found = dict(self.network(seed).state_dict(keep_vars=True))
        # Sorted, so that a linear layer beside the module, head.<task>.weight, does not hide its own trunk.weight.
        given = {own_name(name): params[name] for name in sorted(params)}
        by_tensor = {id(found[name]): value for name, value in given.items() if name in found}
        return {name: by_tensor.get(id(value), value).detach().clone() for name, value in found.items()}


def own_name(name: str) -> str:
    """Return the name in the module of ``trunk.<name>`` or ``head.<task>.<name>``.

    >>> own_name("trunk.conv.weight"), own_name("head.digit.fc.weight")
    ('conv.weight', 'fc.weight')
    """
    part, _, rest = name.partition(".")
    return rest if part == "trunk" else rest.partition(".")[2]


def _head_lines(given: Any) -> Any:
    """Return lines "task=name", or one name."""
    if isinstance(given, str):
        return given
    lines = given
    if isinstance(given, Mapping):
        pairs = [(task, names if isinstance(names, (list, tuple)) else [names]) for task, names in given.items()]
        if all(isinstance(name, str) and name for _, names in pairs for name in names):
            lines = [f"{task}={name}" for task, names in pairs for name in names]
    good = isinstance(lines, (list, tuple)) and all(isinstance(one, str) and one.rpartition("=")[0] for one in lines)
    if not good:
        raise ValueError(
            'FromModule: heads name the submodule of each task, such as {"digit": "fc1"}, or the last layer, such as '
            f'"fc", got {shown(given)}.'
        )
    return tuple(lines)


def _argument_lines(given: Any) -> tuple[str, ...]:
    """Return lines "name=value"."""
    lines = [f"{name}={value!r}" for name, value in given.items()] if isinstance(given, Mapping) else given
    try:
        assert isinstance(lines, (list, tuple))
        for line in lines:
            name, _, text = line.partition("=")
            assert name.isidentifier()
            ast.literal_eval(text)
    except (AssertionError, AttributeError, ValueError, SyntaxError, TypeError):
        raise ValueError(
            f'FromModule: args are plain values by name, such as {{"width": 64}}, got {shown(given)}; give others in '
            "a function that makes the module."
        ) from None
    return tuple(lines)


def _imported(path: str) -> Any:
    """Return what "package.module:Name" stands for; a preset's name was looked at when it was read."""
    module, _, name = path.partition(":")
    if not module or not name.isidentifier():
        raise ValueError(f"FromModule: an import path is written 'package.module:Name', got {shown(path)}.")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ValueError(
            f"FromModule: {shown(path)} cannot be imported ({error}); import it, or mend its path."
        ) from error
    if found is None:
        raise ValueError(f"FromModule: module {module} has no {name!r}; name a class or an object that is there.")
    return found


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(
            f"FromModule: a {type(module).__name__} cannot be copied ({type(error).__name__}: {line}), so it cannot "
            "go to other processes either; leave out files, locks and results of a pass, or give its class."
        ) from error
