"""A folder that fedmtl writes into, and the list of its files there: all others are the user's, and never touched.

The list is a file of its own, the manifest, with a checksum. A run's folder begins empty, so that every name of a
run's files is its own; reports and tables go into any folder, where a file that the manifest does not list stays.
"""

import errno
import fcntl
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedmtl.core.file_format import FORMAT, check_format
from fedmtl.core.files import Folder, temporary_of, write_atomic
from fedmtl.runs.run_lock import LOCK

MANIFEST = "fedmtl.manifest"

AGREED = "checkpoint/agreed.packet"
"""The agreement of clients before the first round."""

RUN_FILES = (
    "experiment.toml",
    "environment.json",
    "recipe.json",
    "schema.json",
    "rounds.columns",
    "ledger.columns",
    "measures.columns",
    "confusion.columns",
    "training.columns",
    "rounds.jsonl",
    "ledger.jsonl",
    "measures.jsonl",
    "confusion.jsonl",
    "training.jsonl",
    "summary.json",
    "model.safetensors",
    "diagnostics.json",
    "failure.json",
    "log.txt",
    "checkpoint/run",
    "checkpoint/server.state",
    AGREED,
)
"""A run's own, always under these names."""

_NUMBERED = re.compile(
    r"checkpoint/(gathered/\d+\.packet"
    r"|(best|flight)-\d+\.state"
    r"|clients/[0-9a-f]{16}\.((best-)?(rows|versions|sums)|best-tags|undo-[0-9a-f]{32}-\d+)"
    r"|clients/\d+/\d{8,}\.state)"
)
"""A run's own too: private states and gathered data, of which there may be thousands."""

RUN_WORD = re.compile(r"[0-9a-f]{32}")
"""The name of a run among those that share a state folder."""


@dataclass(frozen=True)
class Manifest:
    """The files of fedmtl in a folder."""

    run: bool
    """True where the folder is a run's."""
    files: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Facts of a run's beginning: fingerprints of data and components."""
    begun: bool = False
    """True where a round of the run has been finished, so that its checkpoint must be there."""
    format: int = FORMAT


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something and is not a run's; nothing is written.

    Raises:
        ValueError: it names what is there and the way out.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, f"The run folder {str(folder)!r} cannot be written (it is a file); give another (--out)"
        )
    inside = Folder(folder)
    others = [name for name in inside.names() if name != LOCK and temporary_of(name) != MANIFEST]
    manifest = read_manifest(folder)
    if manifest is not None and manifest.run:
        check_format(folder / MANIFEST, manifest.format)
    if others and (manifest is None or not manifest.run):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        old = ""
        if "experiment.toml" in others and "checkpoint" in others:
            old = " It looks like a run of an earlier fedmtl: finish it with that version."
        raise ValueError(
            f"{str(folder)!r} is not empty and no run's folder: it holds {others[0]!r}{more}, which are left as they "
            f"are.{old} Give a new or an empty folder (--out)."
        )


def read_manifest(folder: Path) -> Manifest | None:
    """The list of fedmtl's files in a folder; None where there is none.

    Raises:
        ValueError: a manifest that is damaged, or that fedmtl did not write.
    """
    try:
        text = Folder(folder).read(MANIFEST)
    except FileNotFoundError:
        return None
    try:
        values = json.loads(text)
        check = values.pop("check")
        if check != _check(values) or type(values["format"]) is not int:
            raise ValueError("checksum")
        return Manifest(
            bool(values["run"]),
            tuple(map(str, values["files"])),
            dict(values["facts"]),
            bool(values.get("begun", False)),
            values["format"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(
            f"{str(folder / MANIFEST)!r} is damaged, so it is not known which files of {str(folder)!r} are fedmtl's, "
            "and none is touched; restore it, or give another folder (--out)."
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the list, wholly or not at all."""
    values: dict[str, Any] = {"format": manifest.format, "run": manifest.run, "files": list(manifest.files)}
    values |= {"facts": dict(manifest.facts), "begun": manifest.begun}
    write_atomic(folder / MANIFEST, json.dumps({**values, "check": _check(values)}, indent=1).encode())


def _check(values: Any) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def mark_begun(folder: Path) -> None:
    """Note that a round is finished: a checkpoint that is missing from then on is no run that ended before."""
    with _alone(folder):
        manifest = read_manifest(folder)
        if manifest is not None and not manifest.begun:
            write_manifest(folder, replace(manifest, begun=True))


def claim(folder: Path, names: Iterable[str]) -> None:
    """List files that are about to be written into any folder; "*/name" for the files of a name in its folders.

    Raises:
        ValueError: a file of one of these names is there and not listed, so it is the user's.
    """
    wanted = list(dict.fromkeys(names))
    with _alone(folder):
        manifest = read_manifest(folder) or Manifest(False, ())
        new = [name for name in wanted if name not in manifest.files]
        for name in new:
            there = next(folder.glob(name), None) if name.startswith("*/") else folder / name
            if there is not None and os.path.lexists(there):
                raise ValueError(
                    f"{str(there)!r} is no file of fedmtl's, and is not replaced; give another folder (--out), "
                    "or move it away."
                )
        if new:
            write_manifest(folder, replace(manifest, files=(*manifest.files, *new)))


def write_outputs(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write tables, pictures and texts into any folder, in their order; each is whole or not there.

    Raises:
        ValueError: a file of one of these names is the user's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, files)
    inside = Folder(folder)
    for name, content in files.items():
        if "/" in name:
            inside.make(name.rpartition("/")[0])
        inside.write(name, content, fsync=False)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Inside, no other process changes the folder's manifest."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a disk without locks: two reports at the same moment are all that could meet
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_states(folder: Path) -> None:
    """Delete a run's private states and gathered data, and no file besides."""
    inside = Folder(folder)
    for part in ("checkpoint/clients", "checkpoint/gathered"):
        for name in inside.names(part):
            path = f"{part}/{name}"
            if _NUMBERED.fullmatch(path):
                inside.remove(path)
            elif name.isdecimal():
                for version in inside.names(path):
                    if _NUMBERED.fullmatch(f"{path}/{version}"):
                        inside.remove(f"{path}/{version}")
                if not inside.names(path):
                    inside.remove(path)


def remove_temporaries(folder: Path) -> None:
    """Delete what writes that were cut off have left of the run's own files."""
    inside = Folder(folder)
    for part in ("", "checkpoint", "checkpoint/clients", "checkpoint/gathered"):
        for name in inside.names(part):
            whole = temporary_of(name)
            path = f"{part}/{whole}" if part else whole
            if whole is not None and (path == MANIFEST or path in RUN_FILES or _NUMBERED.fullmatch(str(path))):
                inside.remove(f"{part}/{name}" if part else name)


def read_word(folder: Path) -> str:
    """The run's name among those that share a state folder.

    Raises:
        ValueError: it is gone or is something else, which must not become a part of a path.
    """
    try:
        word = Folder(folder).read("checkpoint/run").decode(errors="replace")
    except FileNotFoundError:
        word = ""
    if not RUN_WORD.fullmatch(word):
        raise ValueError(
            f"{str(folder / 'checkpoint' / 'run')!r} holds the run's name, 32 digits and letters a to f, got "
            f"{word[:60]!r}; restore the file, or begin anew in another folder (--out)."
        )
    return word
