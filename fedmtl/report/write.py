"""A report in a folder: the table, the verdicts and the pictures of some runs, as Markdown, CSV and PNG."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from fedmtl.comm.tables import VALID
from fedmtl.run_folder import write_outputs
from fedmtl.size.table import read_markdown as size_table
from fedmtl.study.aliases import read_aliases
from fedmtl.study.along import Lines, along
from fedmtl.study.axis import read_axis
from fedmtl.study.differences import verdicts
from fedmtl.study.gains import gains, gains_markdown
from fedmtl.study.groups import Group, by_problem, group_runs
from fedmtl.study.read import find_runs, read_run
from fedmtl.study.run import Learnt, Run
from fedmtl.study.table import markdown, tabulate, to_csv
from fedmtl.study.words import saving_sentences

MAX_TASKS = 12
"""So many tasks get a picture of their own; the table has all."""

COUNTED = """\
## What is counted in bytes

Bytes are the lengths of the packets that the server and the clients exchanged, headers included, in both
directions, over all clients and rounds, as one ledger counted them when they were sent; means over seeds.
*Training* is the broadcasts and uploads of training, and the raw data where an algorithm gathers it.
*Evaluation* stands apart, because how often a model is measured is a choice of the study and not a cost of
the method. What the transport adds (HTTP, TLS, TCP) is not in these numbers. 1 kB is 1000 bytes.
"""

READING = """\
## How to read this

A value is the metric over all clients' test examples together, after the last round. The mean score is the mean over
tasks of a number for which more is better and 1 is perfect. Intervals are 95 %, of Student's t over seeds, also those
behind ± and the bands of the pictures; there are none with fewer than three seeds.

Runs that have not ended, and runs that have diverged, are in no number and no picture. A run has diverged when no
client's update is finite, when the metric of a task is not finite at the end, or when a task's score there is −9 or
less and was better untrained: a squared error of ten times that of the best constant.

Local passes are how often a client goes over its examples in a round, with gradients: where they differ, so may scores
for that reason. The constant guess is the best constant of each task, from the training labels of all clients. A gain
over Local is a difference of scores, paired over seeds, as all differences are. A task loses when its whole interval
lies below 0. The worst tenth of clients is the mean score of the tenth that fares worst, minus that of Local. Intervals
are not corrected for the number of comparisons.
"""


VALIDATED = """\
Curves over rounds and bytes, and the bytes to a target, are of validation parts: training examples of each client that
were held out. Tables and differences are of the test parts, which were measured once, with the model of the round that
was best on the validation parts.
"""

MAX_CLIENTS = 500
"""Up to so many clients a matrix of them is drawn; ``learnt.json`` has all."""


class Picture(NamedTuple):
    """A file of the report."""

    file: str
    caption: str
    png: bytes


def write_report(folders: Iterable[str | Path | Run], out: str | Path, target: float | None = None) -> list[Path]:
    """Read the runs in some folders and write ``report.md``, ``table.csv`` and the pictures that they show.

    Args:
        folders: runs, or folders with runs at any depth; or runs that were read.
        out: the folder to write to; made where it is missing. A file appears whole or not at all.
        target: the mean score over tasks for which to count the bytes that it took.

    Returns:
        The files that were written, ``report.md`` last, when all that it shows is there.

    Raises:
        FileNotFoundError: a folder without a run.
        ValueError: a damaged run, or two runs of one experiment with one seed.
    """
    some = list(folders)
    found = find_runs(folder for folder in some if not isinstance(folder, Run))
    read = [run for run in some if isinstance(run, Run)]
    runs = [*read, *map(read_run, found)]
    homes = [run.folder for run in runs]
    aliases, axis = read_aliases(homes), read_axis(homes)
    groups = group_runs(runs, aliases)
    problems = by_problem(groups)
    pictures, sections = _along(along(runs, axis, aliases) if axis else [])
    is_along = bool(pictures)
    sections += [f"{sentence}\n" for sentence in saving_sentences(groups, axis)]
    for number, (problem, together) in enumerate(problems.items(), start=1):
        # The values of an axis have one picture together, and of their own where there are codecs to compare.
        drawn = together if not is_along or any(group.codec for group in together) else []
        own = _pictures(drawn, prefix=f"{number}-" if len(problems) > 1 else "")
        pictures += own
        sections.append(_section(problem, together, own, target))
    validated = [VALIDATED] if any(run.curve_part == VALID for run in runs) else []
    text = "\n".join(["# Report\n", *sections, READING, *validated, COUNTED])
    files = {picture.file: picture.png for picture in pictures}
    files |= {"table.csv": to_csv(tabulate(groups, target)).encode(), "report.md": text.encode()}
    write_outputs(Path(out), files)
    return [Path(out) / name for name in files]


def _along(found: Sequence[Lines]) -> tuple[list[Picture], list[str]]:
    """The pictures and sections of an axis."""
    pictures, sections = [], []
    for number, lines in enumerate(found, start=1):
        from fedmtl.report import along as draw  # with matplotlib, as plots below
        from fedmtl.report import plots

        file = f"along-{number}.png" if len(found) > 1 else "along.png"
        caption = f"Mean score over {lines.axis.title}"
        pictures.append(Picture(file, caption, plots.png(draw.along_picture(lines))))
        sections.append(draw.along_section(lines, file))
    return pictures, sections


def _section(problem: str, groups: Sequence[Group], pictures: Sequence[Picture], target: float | None) -> str:
    differences = "".join(f"- {line}\n" for line in verdicts(groups)) or "No baseline among these runs.\n"
    settings = "".join(f"- {group.name}: `{group.label}`, {_seeds(group)}\n" for group in groups)
    failures = "".join(
        f"- {group.name}, seed {failure.seed}: {failure.state} at round {failure.round} of {failure.rounds}: "
        f"{failure.reason}\n"
        for group in groups
        for failure in group.failures
    )
    held = gains(groups)
    federate = [f"### Should I federate?\n\n{gains_markdown(held)}"] if held else []
    shown = [f"![{picture.caption}]({picture.file})\n" for picture in pictures]
    left_out = len(_tasks(groups)) - MAX_TASKS
    if left_out > 0:
        shown.append(f"The pictures of {left_out} more tasks are left out; `table.csv` has their numbers.\n")
    return "\n".join(
        [
            f"## {problem}\n",
            markdown(tabulate(groups, target)),
            *federate,
            f"### Differences\n\n{differences}",
            *([f"### Runs that do not count\n\n{failures}"] if failures else []),
            *_sizes(groups),
            *(["### Pictures\n", *shown] if pictures else []),
            f"### Settings\n\n{settings}",
        ]
    )


def _sizes(groups: Sequence[Group]) -> list[str]:
    """What ``fedmtl shrink`` left in the run folders."""
    tables = [
        f"{group.name}, seed {run.seed}:\n\n{size_table(path)}"
        for group in groups
        for run in group.finished
        if (path := run.folder / "size.json").is_file()
    ]
    return ["### Small models\n\n" + "\n".join(tables)] if tables else []


def _pictures(groups: Sequence[Group], prefix: str) -> list[Picture]:
    groups = [group for group in groups if group.finished]
    if not groups:
        return []
    # matplotlib takes a second to import, which only those wait for who want pictures.
    from fedmtl.report import plots

    drawn = [
        ("overview", "Mean score over rounds, and over the bytes of training", plots.overview(groups)),
        ("tradeoff", "Final mean score against the bytes of the whole training", plots.tradeoff(groups)),
        ("clients", "Score of every client at the end; box: quartiles, line: 10 % to 90 %", plots.clients(groups)),
    ]
    for group, name, values in _matrices(groups):
        caption = f"{group.name}: {name} of clients, seed {group.finished[0].seed}"
        file = f"learnt-{len(drawn)}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"
        drawn.append((file, caption, plots.heat_map(values.clients, values.values, caption)))
    for task in _tasks(groups)[:MAX_TASKS]:
        caption = f"Task {task}: its metric over rounds, and over the bytes of training"
        drawn.append((f"task-{task}", caption, plots.task_picture(groups, task)))
    return [Picture(f"{prefix}{name}.png", caption, plots.png(figure)) for name, caption, figure in drawn]


def _matrices(groups: Sequence[Group]) -> list[tuple[Group, str, Learnt]]:
    """What the algorithms found out about pairs of clients, of each group's first seed that has finished."""
    return [
        (group, name, learnt)
        for group in groups
        for name, learnt in group.finished[0].learnt.items()
        if learnt.values and isinstance(learnt.values[0], list) and len(learnt.clients) <= MAX_CLIENTS
    ]


def _tasks(groups: Sequence[Group]) -> list[str]:
    return sorted({task for group in groups for task in group.metrics})


def _seeds(group: Group) -> str:
    return f"seed{'s' if len(group.seeds) > 1 else ''} {', '.join(map(str, group.seeds))}"
