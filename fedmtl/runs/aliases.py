"""Aliases: the names that a preset gives to the groups of a comparison, and the file that keeps them for later reports.

A comparison keeps its runs in ``runs/GROUP/seedN`` of its folder, and ``aliases.toml`` beside ``runs`` holds a line for
each GROUP that has an alias. The file may be edited; the next report has the new names.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from fedmtl.core.bounds import check_text, shown
from fedmtl.core.toml import read_toml
from fedmtl.runs.labels import algorithm_names, codec_names, settings_key, short_names
from fedmtl.runs.run_folder import write_outputs

FILE = "aliases.toml"

MOST = 80
"""Characters of an alias: a label of a figure."""

HEAD = "# What tables and figures call the runs in runs/, by folder. Edit it, and: fedmtl report\n"


def check_aliases(aliases: Any, what: str = "compare: aliases") -> None:
    """Refuse what is no table of texts of one line.

    Raises:
        ValueError: it names the key and the rule.
    """
    if not isinstance(aliases, Mapping):
        raise ValueError(f'{what} is a table such as {{ "FedPer" = "ours" }}, got {shown(aliases)}.')
    for key, alias in aliases.items():
        if not isinstance(alias, str) or not alias.strip() or not alias.isprintable() or len(alias) > MOST:
            raise ValueError(
                f"{what}: {shown(key)} needs a text of one line and 1 to {MOST} characters, got {shown(alias)}."
            )
        check_text(f"{what}: {shown(key)}", alias)


def named_by(
    aliases: Mapping[str, str],
    experiments: Sequence[tuple[str, Mapping[str, Any]]],
    others: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> list[str]:
    """The alias of each experiment; empty where it has none.

    A key is a label in full, a short name, or the algorithms or the codecs in a short name, which every name that holds
    them then gets.

    Args:
        aliases: key -> alias.
        experiments: pairs of the label and the table (``Experiment.to_dict``).
        others: experiments that the preset has too, and are not run this time; keys may be theirs.

    Raises:
        ValueError: a key that is none of these, or one alias for two experiments.
    """
    keys = [_keys(experiments), _keys(others)]
    flat = [each for some in keys for each in some]
    known = dict.fromkeys(key for column in (1, 2, 3, 0) for each in flat if (key := each[column]))
    for key in aliases:
        if key not in known:
            raise ValueError(f"compare: aliases: no label is {shown(key)}; the labels are {'; '.join(known)}.")
    found = [_alias(aliases, each) for each in keys[0]]
    users: dict[tuple[str, str], str] = {}
    for alias, (label, short, *_), (_, table) in zip(found, keys[0], experiments, strict=True):
        problem = settings_key(table["data"])
        first = users.setdefault((problem, alias or short), label)
        if first != label:
            raise ValueError(f"compare: aliases: {first} and {label} would both be {shown(alias or short)}.")
    return found


def _keys(experiments: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, str, str, str]]:
    """Label, short name, algorithm and codecs of each experiment, named among those on the same data."""
    problems: dict[str, list[int]] = {}
    for index, (_, table) in enumerate(experiments):
        problems.setdefault(settings_key(table["data"]), []).append(index)
    found: dict[int, tuple[str, str, str, str]] = {}
    for indices in problems.values():
        tables = [experiments[index][1] for index in indices]
        named = zip(indices, short_names(tables), algorithm_names(tables), codec_names(tables), strict=True)
        for index, short, algorithm, codecs in named:
            found[index] = (experiments[index][0], short, algorithm, codecs)
    return [found[index] for index in range(len(experiments))]


def _alias(aliases: Mapping[str, str], keys: tuple[str, str, str, str]) -> str:
    label, short, algorithm, codecs = keys
    whole = aliases.get(label, aliases.get(short))
    if whole is not None:
        return whole
    own = short.replace(algorithm, aliases.get(algorithm, algorithm), 1)
    if codecs in aliases:
        own = own.replace(codecs, aliases[codecs], 1)
    return own if own != short else ""


def write_aliases(folder: Path, names: Sequence[str], aliases: Sequence[str]) -> None:
    """Keep the aliases of a comparison's runs, in ``runs/NAME``; none replace those of an earlier one."""
    table = {name.partition("/")[0]: alias for name, alias in zip(names, aliases, strict=True) if alias}
    if table or (folder / FILE).is_file():
        write_outputs(folder, {FILE: (HEAD + tomli_w.dumps(table)).encode()})


def read_aliases(runs: Iterable[Path]) -> dict[Path, str]:
    """Run folder -> alias, from the file in the folder of the comparison that each is a part of.

    Raises:
        ValueError: a file that is no table of aliases.
    """
    found: dict[Path, str] = {}
    tables: dict[Path, Mapping[str, Any]] = {}
    for run in runs:
        home = run.resolve()
        if home.parent.parent.name != "runs":
            continue
        file = home.parent.parent.parent / FILE
        if file not in tables:
            tables[file] = read_toml(file) if file.is_file() else {}
            check_aliases(tables[file], str(file))
        if home.parent.name in tables[file]:
            found[run] = tables[file][home.parent.name]
    return found
