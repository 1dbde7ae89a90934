"""Places of a module's parameters: in the trunk, or in the head of a task."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from fedmtl.core.context import context_of
from fedmtl.core.suggest import did_you_mean
from fedmtl.models.forward import differentiable, measuring
from fedmtl.models.network import TaskNetwork

TRUNK = "trunk"


def place(
    name: str, network: TaskNetwork, heads: Mapping[str, tuple[str, ...]], trunk: str, x: Tensor
) -> dict[str, str]:
    """Return the names of a network's parameters and buffers, ``trunk.…`` or ``head.<task>.…`` -> their names in it.

    Args:
        name: of the model, for messages.
        network: of all tasks.
        heads: task -> names of submodules, or globs over parameters; empty for those that only its output uses.
        trunk: name of the submodule beside which only heads have parameters; empty for any.
        x: [2, …].

    Raises:
        ValueError: a parameter that no output uses, or that is tied over two parts; a head of which another task's
            output is made; a name of a head that is none.
    """
    own = dict(_tensors(network))
    used = _users(network, own, x)
    parts: dict[int, set[str]] = {}
    for path, value in _tensors(network, every=True):
        parts.setdefault(id(value), set()).add(_named(path, network, heads, trunk))
    if unused := [path for path, value in own.items() if value.requires_grad and not used[path]]:
        _refuse_unused(name, network, unused)
    _check_globs(name, network, heads)
    found: dict[str, str] = {}
    for path, value in own.items():
        tied = parts[id(value)]
        part = min(tied)
        if not part and not (heads and trunk):
            tasks = used[path] or _beside(path, used)
            part = f"head.{min(tasks)}" if len(tasks) == 1 else TRUNK
        _check_part(name, _shown(path), part, tied, used[path])
        found[f"{part}.{_shown(path, new=False)}"] = path
    return found


def _check_part(name: str, path: str, part: str, tied: set[str], users: set[str]) -> None:
    if len(tied) > 1:
        raise ValueError(
            f"{name}: {path} is tied between {' and '.join(sorted(one or 'the rest' for one in tied))}, but one "
            "parameter is in one part; name heads without it, or untie it."
        )
    if part.startswith("head.") and users - {part.removeprefix("head.")}:
        own = part.removeprefix("head.")
        raise ValueError(
            f"{name}: the output of task {min(users - {own})!r} uses {path}, which is in the head of {own!r}; "
            "name a head that its own task alone uses."
        )
    if part == "":
        raise ValueError(
            f"{name}: {path} is neither in the trunk nor in a head; name a trunk that has it, or leave trunk out, so "
            "that all beside the heads is the trunk."
        )


def _named(path: str, network: TaskNetwork, heads: Mapping[str, tuple[str, ...]], trunk: str) -> str:
    """Return the part in which names put a parameter: "" where they put it in none."""
    if path.startswith("new."):
        return f"head.{path.split('.')[1]}"
    own = path.removeprefix("module.")
    for task, names in heads.items():
        if any(_matches(own, name) for name in names):
            return f"head.{task}"
    if trunk:
        return TRUNK if trunk == "." or own.startswith(f"{trunk}.") else ""
    return TRUNK if heads or network.trunk is not None else ""


def _matches(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.") or fnmatchcase(path, name)


def _check_globs(name: str, network: TaskNetwork, heads: Mapping[str, tuple[str, ...]]) -> None:
    own = [path.removeprefix("module.") for path, _ in _tensors(network, every=True)]
    for task, names in heads.items():
        for one in names:
            if not any(_matches(path, one) for path in own):
                known = list(dict(network.module.named_modules()))
                raise ValueError(
                    f"{name}: heads: {one!r}, of task {task!r}, is no submodule with parameters and no glob over them; "
                    f"submodules are {', '.join(list(network.module._modules)[:12])}.{did_you_mean(one, known)}"
                )


def _refuse_unused(name: str, network: TaskNetwork, unused: list[str]) -> None:
    shown = ", ".join(map(_shown, unused[:3])) + (f" and {len(unused) - 3} more" if len(unused) > 3 else "")
    raise ValueError(
        f"{name}: no output of the tasks {', '.join(network.tasks)} uses {shown}, so training would not move it; leave "
        "it out of the module, or freeze it by requires_grad_(False)."
    )


def _shown(path: str, new: bool = True) -> str:
    """Return a name in the user's module; of a head beside it, without its task where ``new`` is False."""
    if path.startswith("new."):
        return path if new else path.split(".", 2)[2]
    return path.removeprefix("module.")


def _tensors(network: TaskNetwork, every: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name; tied ones once, or by ``every`` name."""
    yield from network.named_parameters(remove_duplicate=not every)
    yield from network.named_buffers(remove_duplicate=not every)


def _beside(path: str, used: Mapping[str, set[str]]) -> set[str]:
    """Return the tasks that use the numbers beside one of which no output is a function."""
    layer = path.rpartition(".")[0]
    return set().union(*(tasks for other, tasks in used.items() if other.rpartition(".")[0] == layer))


def _users(network: TaskNetwork, own: Mapping[str, Tensor], x: Tensor) -> dict[str, set[str]]:
    """Return name -> tasks whose outputs are functions of it, in training or while measured."""
    leaves = {path: value.detach().clone().requires_grad_() for path, value in own.items() if value.is_floating_point()}
    found: dict[str, set[str]] = {path: set() for path in own}
    for ctx in (context_of(), None):
        module = measuring(network) if ctx is None else network
        outputs = differentiable(module, {path: leaf * 1 for path, leaf in leaves.items()}, x.clone(), ctx)
        for task, output in outputs.items():
            if not output.requires_grad:
                continue
            slopes = torch.autograd.grad(output.sum(), list(leaves.values()), retain_graph=True, allow_unused=True)
            for path, slope in zip(leaves, slopes, strict=True):
                if slope is not None:
                    found[path].add(task)
    return found
