"""Cost of accuracy: one preset, several codecs, one table of bytes against accuracy, and a verdict for each.

    python simulations/bytes_against_accuracy.py digits --seeds 3 --target 0.7 --out runs/bytes

Runs that are finished in the folder are not run again.
"""

from math import isnan
from pathlib import Path
from typing import Annotated

import typer

from fedmtl import run
from fedmtl.analysis import group_runs, markdown, read_run, tabulate, to_csv, verdicts
from fedmtl.registry.allowed import beside
from fedmtl.runs.presets import check_elsewhere, override, read_preset
from fedmtl.runs.run_folder import write_outputs
from fedmtl.runs.sweep import Sweep, expand, folder_names

PACKETS = (
    {"up_codec": "Dense", "down_codec": "Dense"},
    {"up_codec": "FP16", "down_codec": "FP16"},
    {"up_codec": "Int8", "down_codec": "Int8"},
    {"up_codec": "ErrorFeedback(codec=TopK(keep=0.05))", "down_codec": "FP16"},
    {"up_codec": "ErrorFeedback(codec=TopK(keep=0.01))", "down_codec": "FP16"},
)
"""From 64 bits a number, both directions together, to some 16."""


def main(
    preset: Annotated[str, typer.Argument()] = "digits",
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 3,
    target: Annotated[float, typer.Option(help="Mean score for which to count the bytes that it took.")] = 0.7,
    settings: Annotated[list[str] | None, typer.Option("--set", help="As in fedmtl run: --set rounds=10")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the runs and the table.")] = Path("runs/bytes"),
) -> None:
    values, path = read_preset(preset)
    values.pop("compare", None)  # what varies here is PACKETS
    check_elsewhere(values, settings or [], str(path))
    sweep = Sweep(packets=PACKETS, seeds=tuple(range(seeds)))
    experiments = expand(override(values, settings or [], beside(path)), sweep, str(path), beside(path))
    folders = [out / name for name in folder_names(experiments)]
    for experiment, folder in zip(experiments, folders, strict=True):
        print(f"{experiment.label}, seed {experiment.seed}")
        run(experiment, folder, resume=True)
    groups = group_runs(read_run(folder) for folder in folders)
    # Rows without bytes, the best constants and what did not finish, come last.
    rows = sorted(tabulate(groups, target), key=lambda row: (isnan(row.training_bytes), -row.training_bytes))
    print(f"\n{markdown(rows)}\n" + "\n".join(verdicts(groups)))
    write_outputs(out, {"table.csv": to_csv(rows).encode()})


if __name__ == "__main__":
    typer.run(main)
