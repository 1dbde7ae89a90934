"""Stems, a body and heads, made and looked at one by one: what does not fit is found before a run begins."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.input_forms import InputForm, InputForms, inputs_of, to_rows
from fedmtl.core.random import torch_seed
from fedmtl.core.suggest import did_you_mean
from fedmtl.models.check import Unfit, check_parts, example
from fedmtl.models.check_training import examine
from fedmtl.models.from_module import FromModule
from fedmtl.models.parts import check_own, check_task_name, make_head, prepare
from fedmtl.models.stem_network import StemNetwork, StemTrunk
from fedmtl.models.stems import ANY, Stems
from fedmtl.tasks.base import Task


def make_stems(
    model: Any, recipe: Stems, forms: InputForms, tasks: Mapping[str, Task], seed: int, rows: bool
) -> tuple[StemNetwork, bool]:
    """Return the network of all tasks, and whether it trains differently than it measures.

    Args:
        model: the recipe, or a share map of it, for messages.
        recipe: of stems and body.
        forms: the inputs.
        tasks: name -> task, sorted.
        seed: of the experiment.
        rows: whether examples are rows as of ``to_rows``; else all have one shape.

    Raises:
        ValueError: an input without a stem or a stem without an input, a shape that does not fit its stem, stems of
            unlike width, or what ``make_trunk`` and ``make_head`` refuse.
    """
    _check_names(model, recipe, forms)
    stems: dict[str, nn.Module] = {}
    found: dict[str, Tensor] = {}
    integer: set[str] = set()
    differs = False
    for name in inputs_of(forms, tuple(tasks)):  # not those of tasks that are held out
        form = forms[name]
        check_task_name(name)
        stems[name], found[name], stateful, kind = _stem(f"{model!r}: the stem of {name!r}", recipe, name, form, seed)
        differs = differs or stateful
        if kind == torch.int64:
            integer.add(name)
    widths = {name: features.shape[1] for name, features in found.items()}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name!r} {width}" for name, width in widths.items())
        raise ValueError(f"{model!r}: stems give features of one width to the body, got {listed}; make them equal.")
    body, features, stateful = _body(f"{model!r}: the body", recipe, next(iter(found.values())), seed)
    heads_of: Any = recipe
    made = {name: make_head(heads_of, name, task, features, seed) for name, task in tasks.items()}
    heads = {name: head for name, (head, _) in made.items()}
    trunk = StemTrunk(stems, body)
    check_own(model, trunk, heads)
    differs = differs or stateful or any(own for _, own in made.values())
    return StemNetwork(trunk, heads, forms, frozenset(integer), rows), differs


def example_of(forms: InputForms, network: StemNetwork, rows: bool) -> Tensor:
    """Return an example or more of each input, as the network takes them."""
    if not rows:
        form = next(iter(forms.values()))
        return example(form.shape, torch.int64 if network.integer else torch.float32)
    kinds = {name: torch.int64 if name in network.integer else torch.float32 for name in network.trunk.stem}
    parts = [to_rows(forms, name, example(forms[name].shape, kind).numpy()) for name, kind in kinds.items()]
    return torch.cat([torch.from_numpy(part) for part in parts])


def forms_of_tasks(input_shape: tuple[int, ...], whole: bool, tasks: Mapping[str, Task]) -> InputForms:
    """Return an input for each task, where all examples have one shape."""
    return {name: InputForm(tuple(input_shape), whole, (name,)) for name in tasks}


def _check_names(model: Any, recipe: Stems, forms: InputForms) -> None:
    names = [name for name, _ in recipe.stems]
    for name, form in forms.items():
        if recipe.stem(name) is None:
            raise ValueError(
                f"{model!r}: no stem for the input {name!r} of task {', '.join(map(repr, form.tasks))}; the stems are "
                f"{', '.join(map(repr, names))}: add one, or one for all others, {ANY!r}.{did_you_mean(name, names)}"
            )
    for name in names:
        if name != ANY and name not in forms:
            raise ValueError(
                f"{model!r}: a stem for {name!r}, which is no input; the inputs are {', '.join(map(repr, forms))}."
                f"{did_you_mean(name, list(forms))}"
            )


def _stem(
    what: str, recipe: Stems, name: str, form: InputForm, seed: int
) -> tuple[nn.Module, Tensor, bool, torch.dtype]:
    """Return a stem, its features of two examples, whether it trains differently, and the type of its inputs."""
    kinds = (torch.int64, torch.float32) if form.whole else (torch.float32,)
    first: Unfit | None = None
    for kind in kinds:
        x = example(form.shape, kind)
        try:
            module, features, stateful = _part(what, f"stem.{name}", recipe.stem(name), form.shape, x, seed)
            return module, features, stateful, kind
        except Unfit as error:
            first = first or error
            if kind == kinds[-1]:
                raise (first if "indices" in str(error) else error) from None
    raise AssertionError(kinds)


def _body(what: str, recipe: Stems, features: Tensor, seed: int) -> tuple[nn.Module, Tensor, bool]:
    return _part(what, "body", recipe.body, tuple(features.shape[1:]), features, seed, flat=False)


def _part(
    what: str, part: str, recipe: Any, shape: tuple[int, ...], x: Tensor, seed: int, flat: bool = True
) -> tuple[nn.Module, Tensor, bool]:
    """Return the trunk of a model, or a module of the user's, its outputs for x, and whether it trains differently."""
    with torch_seed(seed, f"trunk.{part}"):
        try:
            module = recipe.make() if isinstance(recipe, FromModule) else recipe.trunk(shape)
        except (TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ValueError(f"{what}: {recipe!r} fails on inputs of shape {shape} ({line}).") from error
        except ValueError as error:
            raise ValueError(f"{what} takes inputs of shape {shape}: {error}") from None
        if not isinstance(module, nn.Module):
            raise ValueError(f"{what} is an nn.Module, got a {type(module).__name__}; return a module.")
        prepare(what, "it", module, x)
    check_parts(what, f"trunk.{part}", module)

    def check(found: Any) -> None:
        if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(x) or (flat and found.ndim != 2):
            given = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            wanted = "[B, width]" if flat else "[B, …]"
            raise ValueError(f"{what} gives features {wanted}, got {given} for B={len(x)}; end it in nn.Flatten().")
        if found.dtype != torch.float32:
            raise ValueError(f"{what} gives float32 features, got {found.dtype}.")

    with torch_seed(seed, "check"):
        features, stateful = examine(what, "it", module, x, check)
    return module, features, stateful
