"""The ``[run]`` table of a preset: options that ``fedmtl run`` takes with it, where the command gives no others."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fedmtl.core.bounds import shown
from fedmtl.core.field_types import check_type
from fedmtl.core.suggest import did_you_mean
from fedmtl.runs.presets import read_preset


@dataclass(frozen=True)
class RunOptions:
    """Options of one run.

    Raises:
        ValueError: a value of another type, or a picture that would leave the folder it is drawn in.
    """

    baseline: bool = False
    """True: ``Local`` is run beside it, as with ``--baseline``; not where the run is ``Local`` itself."""
    picture: str = ""
    """Name of a picture of each task's score against bytes, as with ``--picture``; in the run's folder, where it has
    one, else in the current one. None without a name."""

    def __post_init__(self) -> None:
        check_type("run: baseline", self.baseline, bool)
        check_type("run: picture", self.picture, str)
        if self.picture and Path(self.picture).name != self.picture:
            raise ValueError(
                f"run: picture is the name of a file, got {shown(self.picture)}, which leads to another folder, and a "
                "file alone may not; give it with --picture."
            )


def run_options(preset: str | Path | None) -> RunOptions:
    """Return the options of a preset; the defaults without a preset, or without a table.

    Raises:
        ValueError: an unknown key, or a value that is none; it begins with the file.
    """
    values, path = ({}, None) if preset is None else read_preset(preset)
    table: Any = values.get("run", {})
    names = [field.name for field in fields(RunOptions)]
    try:
        if not isinstance(table, dict):
            raise ValueError(f"run is a table of {', '.join(names)}, got {shown(table)}.")
        for key in table:
            if key not in names:
                raise ValueError(
                    f"run: unknown key {shown(key)}; the keys are {', '.join(names)}.{did_you_mean(key, names)}"
                )
        return RunOptions(**table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
