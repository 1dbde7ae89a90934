"""The share map of a model: globs over names of parameters, and the part that each parameter plays."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from fedmtl.core.lines import pairs_of, read_lines
from fedmtl.core.suggest import did_you_mean
from fedmtl.core.types import ClientId
from fedmtl.models.base import Model
from fedmtl.models.client_groups import ClientGroups, find_groups
from fedmtl.models.from_module import FromModule
from fedmtl.models.mlp import MLP
from fedmtl.models.wrappers import layers_of

SHARED, PRIVATE, FROZEN, GROUP = WORDS = ("shared", "private", "frozen", "group")


@dataclass(frozen=True)
class ShareMap:
    """A model some of whose parameters have a part of their own, whatever the algorithm does with the others.

    | word | a parameter or buffer of this word |
    | --- | --- |
    | ``shared`` | is averaged over the clients that have it, by examples, where the algorithm would keep it private |
    | ``group`` | is averaged over the clients of its group, see ``groups`` |
    | ``private`` | never leaves its client |
    | ``frozen`` | stays as the recipe made it: it is held once a node, and neither sent nor stored for a client |

    Globs are matched, by ``fnmatch``, with names such as ``trunk.0.weight``, ``head.sick.bias`` and, for buffers,
    ``trunk.1.running_mean``. Where globs of different words match one parameter, the narrower one decides: the one all
    of whose parameters the others match, too. Parameters without a glob stay where the algorithm has them.

    ``ShareMap(MLP(), {"trunk.1.*": "private"})`` is, in a preset, a call, ``model = 'ShareMap(model="MLP()",
    share={"trunk.1.*": "private"})'``, or a table.

    Raises:
        ValueError: no globs, an unknown word, or groups without a parameter or the other way round; when the model is
            built, a glob that matches no parameter, or two that disagree and of which neither is narrower; when
            clients are known, one that is in no group.
    """

    model: Model = field(default=MLP(), metadata={"component": ("model",)})
    share: Any = field(default=("trunk.*=shared",))
    """Glob -> word: a mapping, or lines "glob=word"."""
    groups: Any = field(default=())
    """Client -> group: a mapping of names, numbers or globs, {"ward *": "hospital", "*": "others"}, or lines
    "client=group". The first that matches a client decides."""

    def __post_init__(self) -> None:
        if isinstance(self.model, nn.Module):
            object.__setattr__(self, "model", FromModule(self.model))
        for name, example in (("share", '{"trunk.*": "shared"}'), ("groups", '{"ward *": "hospital"}')):
            lines = read_lines(given := getattr(self, name))
            if lines is None or not (lines or name == "groups") or not all(map(all, pairs_of(lines))):
                raise ValueError(f"ShareMap takes globs and words, such as {example}, got {name}={given!r}.")
            object.__setattr__(self, name, lines)
        for glob, word in self.pairs():
            if word not in WORDS:
                raise ValueError(
                    f"ShareMap: a parameter is {SHARED}, {PRIVATE}, {FROZEN} or of a {GROUP}, got {word!r} for "
                    f"{glob!r}.{did_you_mean(word, WORDS)}"
                )
        grouped = [glob for glob, word in self.pairs() if word == GROUP]
        if bool(grouped) != bool(self.groups):
            what = f"no parameter is of a {GROUP}" if self.groups else f"{grouped[0]!r} is of a {GROUP}"
            raise ValueError(
                f"ShareMap: {what}, got groups={self.groups!r}; a parameter and the groups of clients go together, as "
                f'in ShareMap(model, {{"trunk.*": "{GROUP}"}}, {{"ward *": "hospital", "*": "others"}}).'
            )

    def pairs(self) -> list[tuple[str, str]]:
        """Return globs and their words."""
        return pairs_of(self.share)

    def change(self, trunk: nn.Module) -> None:
        """Nothing: the map is about names, of the whole model."""

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        return self.model.trunk(input_shape)

    def head(self, features: Any, outputs: Any) -> nn.Module:
        return self.model.head(features, outputs)


def groups_of(model: Any, clients: Iterable[ClientId], names: Mapping[ClientId, str]) -> ClientGroups | None:
    """Return the groups of clients of the model's share map; None where it has none. See ``find_groups``."""
    found = [one.groups for one in layers_of(model) if isinstance(one, ShareMap) and one.groups]
    return find_groups(model, found[0], clients, names) if found else None


def roles(model: Any, names: Sequence[str], frozen: Collection[str] = ()) -> dict[str, str]:
    """Return the words of those parameters that the model's share map matches; of other models, none.

    Args:
        model: the recipe.
        names: of its parameters and buffers.
        frozen: those of them that the recipe itself freezes.

    Raises:
        ValueError: a glob that matches no parameter, or frozen ones alone, or two that disagree.
    """
    maps = [one for one in layers_of(model) if isinstance(one, ShareMap)]
    if not maps:
        return {}
    if len(maps) > 1:
        raise ValueError(f"{model!r} has two share maps, one inside the other; write the globs of both in one.")
    pairs = maps[0].pairs()
    matched = {glob: {name for name in names if fnmatchcase(name, glob)} for glob, _ in pairs}
    for glob, word in pairs:
        if not matched[glob]:
            raise ValueError(
                f"{model!r}: {glob!r} matches no parameter; those of the model are {', '.join(names[:12])}"
                f"{', …' if len(names) > 12 else ''}.{did_you_mean(glob, _candidates(names))}"
            )
        if word != FROZEN and matched[glob] <= set(frozen):
            raise ValueError(
                f"{model!r}: {glob!r} is {word}, but all that it matches is frozen by the model itself, such as "
                f"{min(matched[glob])}; leave the glob out, or requires_grad_(False)."
            )
    return {name: word for name in names if (word := _word(model, name, pairs, matched))}


def _candidates(names: Sequence[str]) -> list[str]:
    """Return the names and the globs of their modules, for hints."""
    layers = {name.rpartition(".")[0] for name in names}
    return [*names, *(f"{layer}.*" for layer in sorted(layers | {layer.partition(".")[0] for layer in layers}))]


def _word(model: Any, name: str, pairs: Sequence[tuple[str, str]], matched: Mapping[str, set[str]]) -> str:
    found = [(glob, word) for glob, word in pairs if name in matched[glob]]
    if not found:
        return ""
    narrow, word = min(found, key=lambda pair: len(matched[pair[0]]))
    for glob, other in found:
        if other != word and not matched[narrow] < matched[glob]:
            raise ValueError(
                f"{model!r}: {name} is {word} by {narrow!r} and {other} by {glob!r}, and neither glob is narrower; "
                "make one of them match a part of what the other matches."
            )
    return word
