"""The experiments of a preset's ``[compare]`` table, changed by options; an error names the option that causes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from fedmtl.registry.allowed import Allowed, beside
from fedmtl.runs.aliases import named_by
from fedmtl.runs.axis import Axis, parse_axis
from fedmtl.runs.blame import blamed
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.presets import check_elsewhere, read_preset
from fedmtl.runs.settings import as_option, override
from fedmtl.runs.sweep import Sweep, expand, first_seeds, parse_packets, sweep_of


@dataclass(frozen=True)
class Varied:
    """Options that replace parts of a preset's ``[compare]`` table; empty ones leave them."""

    algorithms: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    seeds: int | None = None
    axis: str = ""

    def over(self, sweep: Sweep) -> Sweep:
        """The sweep with these parts replaced.

        Raises:
            ValueError: a number of seeds that no comparison has.
        """
        if self.axis:
            sweep = replace(sweep, axis=parse_axis(self.axis))
        if self.algorithms:
            sweep = replace(sweep, algorithms=self.algorithms, axis=sweep.axis and sweep.axis.without("algorithms"))
        if self.codecs:
            packets = tuple(map(parse_packets, self.codecs))
            sweep = replace(sweep, packets=packets, axis=sweep.axis and sweep.axis.without("packets"))
        return sweep if self.seeds is None else replace(sweep, seeds=first_seeds(self.seeds))

    def single(self) -> list[tuple[str, "Varied"]]:
        """Option, as it was given -> itself alone."""
        return [
            *((f"--algorithm {text}", Varied(algorithms=(text,))) for text in self.algorithms),
            *((f"--codec {text}", Varied(codecs=(text,))) for text in self.codecs),
            *([] if self.seeds is None else [(f"--seeds {self.seeds}", Varied(seeds=self.seeds))]),
            *([(f"--axis {self.axis}", Varied(axis=self.axis))] if self.axis else []),
        ]


class Own(NamedTuple):
    """Values in place of a preset's, or of none."""

    source: str = ""
    """Names them in messages where there is no preset."""
    values: Mapping[str, Any] = {}
    finish: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    """Settings applied -> the values of an experiment."""


NOTHING_OWN = Own()


class Expanded(NamedTuple):
    """Experiments of a preset's comparison."""

    experiments: list[Experiment]
    sweep: Sweep
    own: list[Experiment]
    """Those of the preset's own table, where options replace parts of it and it gives aliases."""
    space: Any
    """The preset's ``[tune]`` table; None without one."""
    allowed: Allowed
    insists: bool
    """True where the preset or a setting says where runs take place."""


class Wanted(NamedTuple):
    """Experiments of the comparisons of one or more presets."""

    expanded: list[Expanded]
    """A preset each."""

    @property
    def experiments(self) -> list[Experiment]:
        """Those of all presets."""
        return [each for one in self.expanded for each in one.experiments]

    @property
    def target(self) -> float | None:
        """Target of the first preset that has one."""
        return next((one.sweep.target for one in self.expanded if one.sweep.target is not None), None)

    @property
    def axis(self) -> Axis | None:
        """Axis of the first preset that has one."""
        return next((one.sweep.axis for one in self.expanded if one.sweep.axis), None)

    def aliases(self, experiments: Sequence[Experiment]) -> list[str]:
        """The name of each experiment in the report, by the presets' aliases; empty where that is its short name.

        Args:
            experiments: those of the presets, or as tuning has changed them.

        Raises:
            ValueError: an alias of none of them, or of two.
        """
        aliases = {key: alias for one in self.expanded for key, alias in one.sweep.aliases.items()}
        own = [each for one in self.expanded for each in one.own]
        return named_by(aliases, *([(each.label, each.to_dict()) for each in some] for some in (experiments, own)))


def expand_presets(
    presets: Sequence[str],
    varied: Varied,
    settings: Sequence[str],
    allow: Sequence[str],
    own: Own = NOTHING_OWN,
) -> Wanted:
    """Every experiment of some presets; nothing runs yet.

    Args:
        presets: files, or names of presets; none, where there are values of one's own.
        varied, settings, allow, own: as in ``expand_preset``.

    Raises:
        ValueError: begins with the option, or the file, that causes it.
    """
    some = list(presets) or ([None] if own.values else [])
    return Wanted([expand_preset(preset, varied, settings, allow, own) for preset in some])


def expand_preset(
    preset: str | None, varied: Varied, settings: Sequence[str], allow: Sequence[str], own: Own = NOTHING_OWN
) -> Expanded:
    """Every experiment of a preset; nothing runs yet.

    Args:
        preset: a file, or the name of a preset; None: the defaults.
        varied: options that replace what the table says.
        settings: ``key=value``, for every experiment.
        allow: modules that components may come from.
        own: values in place of the preset's.

    Raises:
        ValueError: begins with the option, or the file, that causes it.
    """
    values, path = ({}, Path(own.source)) if preset is None else read_preset(preset)
    values = {**values, **own.values}
    where, table = str(path), values.pop("compare", {})
    space = values.pop("tune", None)
    # Without a preset, components may lie in the folder that the command runs in.
    allowed = beside(Path(path.name) if preset is None else path, allow)
    check_elsewhere(values, settings, where)

    def attempt(settings: Sequence[str], varied: Varied) -> Expanded:
        whole = sweep_of(table)
        sweep = varied.over(whole)
        changed = dict(own.finish(override(values, settings, allowed)))
        all_of = expand(changed, whole, where, allowed) if sweep.aliases and sweep != whole else []
        insists = "runtime" in changed
        return Expanded(expand(changed, sweep, where, allowed), sweep, all_of, space, allowed, insists)

    try:
        return attempt(settings, varied)
    except ValueError as error:
        tries: list[tuple[str, Callable[[], object]]] = [(where, lambda: attempt((), Varied()))]
        tries += [(name, lambda one=one: attempt((), one)) for name, one in varied.single()]
        for count in range(1, len(settings) + 1):
            some = settings[:count]
            tries.append((as_option(some[-1]), lambda some=some: attempt(some, varied)))
        raise ValueError(blamed(str(error), where, tries)) from error
