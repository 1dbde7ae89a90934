"""Cost of accuracy: one preset, several codecs, one table of bytes against accuracy, and a verdict for each.

    python simulations/bytes_against_accuracy.py digits --seeds 3 --target 0.7 --out runs/bytes

Runs that are finished in the folder are not run again.
"""

from math import isnan
from pathlib import Path
from typing import Annotated

import typer

from fedmtl import compare, run_script
from fedmtl.analysis import markdown, tabulate, verdicts
from fedmtl.registry.allowed import beside
from fedmtl.runs.presets import check_elsewhere, override, read_preset
from fedmtl.runs.sweep import Sweep, expand
from fedmtl.studies import Event

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
    rounds: Annotated[int | None, typer.Option(help="Rounds of training; default: the preset's.")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.")] = 3,
    target: Annotated[float, typer.Option(help="Mean score for which to count the bytes that it took.")] = 0.7,
    settings: Annotated[list[str] | None, typer.Option("--set", help="As in fedmtl run: --set batch_size=8")] = None,
    out: Annotated[Path, typer.Option(help="Folder for runs, tables and pictures.")] = Path("runs/bytes"),
) -> None:
    changes = [*(settings or []), *([] if rounds is None else [f"rounds={rounds}"])]
    values, path = read_preset(preset)
    values.pop("compare", None)  # what varies here is PACKETS
    check_elsewhere(values, changes, str(path))
    sweep = Sweep(packets=PACKETS, seeds=tuple(range(seeds)))
    experiments = expand(override(values, changes, beside(path)), sweep, str(path), beside(path))

    def show(event: Event) -> None:
        if event.kind == "began":
            print(f"{experiments[event.task].label}, seed {experiments[event.task].seed}")

    found = compare(experiments, out, target=target, on_event=show)
    # Rows without bytes, the best constants and what did not finish, come last.
    rows = sorted(tabulate(found.groups, target), key=lambda row: (isnan(row.training_bytes), -row.training_bytes))
    print("\n".join(["", markdown(rows), *verdicts(found.groups)]))
    print(f"figures: {', '.join(str(picture.path) for picture in found.pictures.values())}")


if __name__ == "__main__":
    run_script(main)
