"""Weights of a file put into a trunk by name: what does not fit is one error."""

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fedmtl.core.suggest import did_you_mean

COUNT = "num_batches_tracked"
"""Buffer of BatchNorm that this project drops."""

SHOWN = 3
"""Names of each kind that an error lists."""


def load_weights(
    what: str,
    trunk: nn.Module,
    weights: Mapping[str, Tensor],
    rename: Sequence[tuple[str, str]] = (),
    skip: Collection[str] = (),
    fresh: Collection[str] = (),
) -> None:
    """Replace the numbers of a trunk, in place.

    A file of a run, whose names begin with ``trunk.`` or ``head.``, gives its trunk. Layers that the trunk has replaced
    by ``nn.Identity``, such as a last layer, are left out.

    Args:
        what: the model and the file, for messages.
        trunk: with parameters that have been made.
        weights: name in the file -> tensor.
        rename: beginnings of names in the file, and what stands for them in the trunk.
        skip: globs over names in the file, after ``rename``, that are left out.
        fresh: globs over names in the trunk that the file lacks.

    Raises:
        ValueError: names that the file lacks or has in vain, other shapes, or globs without a match.
    """
    own: dict[str, Tensor] = dict(trunk.state_dict(keep_vars=True))
    if lazy := [name for name, value in own.items() if is_lazy(value)]:
        raise ValueError(f"{what}: {lazy[0]} has no shape before the first call; give the layer its size, not Lazy….")
    given = _renamed(what, weights, rename, own)
    _check_globs(what, "skip", skip, given)
    _check_globs(what, "fresh", fresh, own)
    identities = {f"{name}." for name, part in trunk.named_modules() if name and isinstance(part, nn.Identity)}
    given = {
        name: value
        for name, value in given.items()
        if name in own or not (_matches(name, skip) or name.startswith(tuple(identities)) or name.endswith(COUNT))
    }
    given = {name: value for name, value in given.items() if not _matches(name, skip)}
    missing = [n for n in own if n not in given and not _matches(n, fresh) and not n.endswith(COUNT)]
    unexpected = [name for name in given if name not in own]
    unlike = [name for name in given if name in own and given[name].shape != own[name].shape]
    if missing or unexpected or unlike:
        raise ValueError(_other_model(what, missing, unexpected, unlike, given, own, weights))
    with torch.no_grad():
        for name, value in given.items():
            own[name].copy_(value)


def freeze(what: str, trunk: nn.Module, globs: Sequence[str]) -> None:
    """Make the parameters of a trunk that globs match ask for no gradient.

    Raises:
        ValueError: a glob that matches none.
    """
    parameters = dict(trunk.named_parameters())
    _check_globs(what, "freeze", globs, parameters)
    for name, value in parameters.items():
        if _matches(name, globs):
            value.requires_grad_(False)


def _matches(name: str, globs: Collection[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _renamed(
    what: str, weights: Mapping[str, Tensor], rename: Sequence[tuple[str, str]], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    if not rename and all(name.startswith(("trunk.", "head.")) for name in weights):
        if not any(name.startswith("trunk.") for name in own):  # a run's model.safetensors
            return {name.removeprefix("trunk."): v for name, v in weights.items() if name.startswith("trunk.")}
    for old, _ in rename:
        if not any(name.startswith(old) for name in weights):
            raise ValueError(
                f"{what}: rename: no name in the file begins with {old!r}; it has {_some(list(weights))}."
                f"{did_you_mean(old, _prefixes(weights))}"
            )
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        old, new = next(((old, new) for old, new in rename if name.startswith(old)), ("", ""))
        found[new + name.removeprefix(old)] = value
    if len(found) < len(weights):
        raise ValueError(f"{what}: rename gives two names in the file the same name; give each prefix its own.")
    return found


def _prefixes(names: Collection[str]) -> list[str]:
    return sorted({f"{name.partition('.')[0]}." for name in names})


def _check_globs(what: str, field: str, globs: Collection[str], names: Collection[str]) -> None:
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            where = "the file" if field == "skip" else "the trunk"
            raise ValueError(
                f"{what}: {field}: {glob!r} matches no name in {where}, which has {_some(list(names))}."
                f"{did_you_mean(glob, names)}"
            )


def _some(names: Sequence[str], show: Callable[[str], str] = str) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(show, names[:SHOWN])) + more


def _other_model(
    what: str,
    missing: Sequence[str],
    unexpected: Sequence[str],
    unlike: Sequence[str],
    given: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
) -> str:
    def shapes(name: str) -> str:
        return f"{name} ({tuple(given[name].shape)} in the file, {tuple(own[name].shape)} in the model)"

    found = [f"the file lacks {_some(missing)}"] if missing else []
    found += [f"the model has no {_some(unexpected)}"] if unexpected else []
    found += [f"other shapes have {_some(unlike, shapes)}"] if unlike else []
    return f"{what}: weights of another model: {'; '.join(found)}. {_way_out(missing, unexpected, unlike, weights)}"


def _way_out(
    missing: Sequence[str], unexpected: Sequence[str], unlike: Sequence[str], weights: Mapping[str, Tensor]
) -> str:
    if missing:
        ends = [name for name in weights if name.endswith(f".{missing[0]}")]
        if ends and sum(f"{ends[0].removesuffix(missing[0])}{name}" in weights for name in missing) == len(missing):
            others = [name for name in weights if not name.startswith(prefix := ends[0].removesuffix(missing[0]))]
            skip = f', and skip=["{others[0].partition(".")[0]}.*"]' if others else ""
            return f'Names in the file begin with {prefix!r}: give rename={{"{prefix}": ""}}{skip}.'
    ways = ["take the model that the file is of"]
    ways += ["name what the file may lack, fresh=[…]"] if missing or unlike else []
    ways += ["leave names of the file out, skip=[…]"] if unexpected or unlike else []
    ways += ["or map beginnings of names, rename={…}"] if missing and unexpected else []
    way = "; ".join(ways)
    return f"{way[0].upper()}{way[1:]}."
