"""The folder of a run before its first round: new, or with an earlier run that goes on."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from fedmtl.core.file_format import OtherFormat
from fedmtl.core.files import Folder
from fedmtl.data.base import Schema
from fedmtl.runs.checkpoint import CHECKPOINT
from fedmtl.runs.environment import environment
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.experiment_fields import EXECUTION_FIELDS
from fedmtl.runs.old_keys import OLD_KEYS
from fedmtl.runs.run_folder import (
    RUN_FILES,
    Manifest,
    check_folder,
    read_manifest,
    read_word,
    remove_states,
    write_manifest,
)
from fedmtl.runs.same_run import check_same
from fedmtl.runs.schema_file import SCHEMA, schema_to_bytes
from fedmtl.runs.summary import summary_from_bytes


def open_folder(
    folder: Path, experiment: Experiment, resume: bool, facts: Mapping[str, Any]
) -> tuple[str | None, dict[str, Any] | None]:
    """Check a run's folder before anything is written. One without a finished round holds no run.

    Returns:
        Name of the run that goes on, and its summary where it is finished; None for each that there is not.

    Raises:
        ValueError: the folder holds a run and ``resume`` is false, or it holds a run of another experiment.
        OSError: the folder cannot be written.
    """
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        manifest = read_manifest(folder) or Manifest(True, RUN_FILES)
        if not Folder(folder).exists(CHECKPOINT) and not Folder(folder).exists("summary.json"):
            manifest = replace(manifest, facts=facts)
            write_manifest(folder, manifest)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"The run folder {str(folder)!r} cannot be written ({os.strerror(error.errno or 0)}); give another (--out)",
        ) from None
    files = Folder(folder)
    files.make("checkpoint" if experiment.runtime.state_dir else "checkpoint/clients", 0o700)
    if not files.exists(CHECKPOINT):
        if files.exists("summary.json"):
            raise ValueError(
                f"{str(folder)!r} holds a run that is finished and whose checkpoint is gone; give another folder "
                "(--out), or delete it."
            )
        if manifest.begun:
            raise ValueError(
                f"{str(files.path(CHECKPOINT))!r} is gone, and without it the run's finished rounds cannot go on; "
                "restore the file, or begin anew in another folder (--out)."
            )
        remove_states(folder)  # of a run that ended before its first round did
        return None, None
    if not resume:
        raise ValueError(f"{str(folder)!r} holds a run; resume it (--resume), or give another folder (--out).")
    before = _read_settings(files)
    now = tomllib.loads(tomli_w.dumps(experiment.to_dict()))
    for key in sorted((before.keys() | now.keys()) - {*EXECUTION_FIELDS, *OLD_KEYS}):
        if repr(before.get(key)) != repr(now.get(key)):  # a cohort of 1 is not one of 1.0
            raise ValueError(
                f"{str(folder)!r} holds a run with {key} = {before.get(key)!r}, got {now.get(key)!r}: a run "
                "resumes with the experiment that it began with; give another folder (--out) for another."
            )
    if facts:
        check_same(str(folder), manifest.facts, facts)
    return read_word(folder), _read_summary(files) if files.exists("summary.json") else None


def write_first_files(files: Folder, experiment: Experiment, run: str, schema: Schema | None) -> None:
    """Write the files that a new run begins with: its name, its environment, the resolved experiment and the schema."""
    files.write("checkpoint/run", run.encode())
    files.write("environment.json", json.dumps(environment(), indent=2).encode())
    files.write("experiment.toml", tomli_w.dumps(experiment.to_dict()).encode())
    if schema is not None:
        files.write(SCHEMA, schema_to_bytes(schema))


def _read_settings(files: Folder) -> dict[str, Any]:
    """The settings with which a folder's run began."""
    try:
        return tomllib.loads(files.read("experiment.toml").decode())
    except (FileNotFoundError, ValueError) as error:
        why = "is gone" if isinstance(error, FileNotFoundError) else f"is damaged ({error})"
        raise ValueError(
            f"{str(files.path('experiment.toml'))!r} {why}, so nothing says how this run began; restore it, or give "
            "another folder (--out)."
        ) from None


def _read_summary(files: Folder) -> dict[str, Any]:
    try:
        return summary_from_bytes(files.read("summary.json"), files.path("summary.json"))
    except OtherFormat:
        raise
    except ValueError as error:
        raise ValueError(
            f"{str(files.path('summary.json'))!r} is damaged ({error}); delete it, and --resume writes it again from "
            "the checkpoint."
        ) from None
