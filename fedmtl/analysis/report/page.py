"""The text of a report: one page of Markdown, which explains what it holds and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedmtl.analysis.differences import verdicts
from fedmtl.analysis.floor import CONSTANT
from fedmtl.analysis.gains import Gain, gains, gains_markdown
from fedmtl.analysis.groups import Group
from fedmtl.analysis.intervals import LEAST_SEEDS
from fedmtl.analysis.sizes import read_markdown as size_table
from fedmtl.analysis.table import markdown
from fedmtl.analysis.table_row import ExperimentRow
from fedmtl.analysis.unequal_work import unequal_work
from fedmtl.tables.schemas import VALID

COUNTED = """\
## What is counted in bytes

Bytes are the lengths of the packets that the server and the clients exchanged, headers included, in both
directions, over all clients and rounds, as one ledger counted them when they were sent. *Training* is the broadcasts
and uploads of training, and the raw data where an algorithm gathers it. *Evaluation* stands apart, because how often a
model is measured is a choice of the study and not a cost of the method. What the transport adds
(Flower's objects, HTTP) is in the columns of *Bytes by column* alone. 1 kB is 1000 bytes.
"""


@dataclass(frozen=True)
class Shown:
    """A picture of the page."""

    file: str
    """Without a suffix."""
    caption: str


@dataclass(frozen=True, eq=False)
class Section:
    """Lines of the page about one problem."""

    problem: str
    groups: Sequence[Group]
    rows: Sequence[ExperimentRow]
    held: Sequence[Gain]
    pictures: Sequence[Shown]
    more: Sequence[str] = ()
    """Further sections, with their headings, before the settings."""


def section_of(
    problem: str, groups: Sequence[Group], rows: Sequence[ExperimentRow], pictures: Sequence[Shown]
) -> Section:
    """A section, with the gains that its groups have."""
    return Section(problem, groups, rows, gains(groups), pictures)


def page(sections: Sequence[Section], first: Sequence[str] = ()) -> str:
    """The whole page; ``first`` are sections for its top."""
    return "\n".join(["# Report\n", *first, *map(_section, sections), _reading(sections), COUNTED])


def _section(own: Section) -> str:
    settings = "".join(f"- {group.name}: `{group.label}`, {_seeds(group)}\n" for group in own.groups)
    failures = "".join(
        f"- {group.name}, seed {failure.seed}: {failure.state} at round {failure.round} of {failure.rounds}: "
        f"{failure.reason}\n"
        for group in own.groups
        for failure in group.failures
    )
    federate = [f"### Should I federate?\n\n{gains_markdown(own.held)}"] if own.held else []
    return "\n".join(
        [
            f"## {own.problem}\n",
            markdown(own.rows),
            *federate,
            _differences(own.groups),
            *([f"### Runs that do not count\n\n{failures}"] if failures else []),
            *_sizes(own.groups),
            *(["### Pictures\n", *map(picture_lines, own.pictures)] if own.pictures else []),
            *own.more,
            f"### Settings\n\n{settings}",
        ]
    )


def _differences(groups: Sequence[Group]) -> str:
    """The verdicts, or the way to one."""
    lines = verdicts(groups)
    if lines:
        return "### Differences\n\n" + "".join(f"- {line}\n" for line in lines)
    if len(groups) == 1:
        by_hand = any("passed_as_object" in str(part) for part in groups[0].runs[0].experiment.values())
        way = (  # an object of Python is in no preset
            '`run(replace(experiment, algorithm="Local"), "FOLDER/baseline")` in Python, with the folder of this run,'
            if by_hand
            else "The same `fedmtl run` command with `--baseline`"
        )
        return f"Is that much? {way} adds the floor, each client alone (Local).\n"
    return "No verdicts: none of these is Local or FedAvg, to hold the others against; add --algorithm Local.\n"


def picture_lines(shown: Shown) -> str:
    """A picture, its caption, and links to its other files."""
    links = ", ".join(f"[{suffix.upper()}]({shown.file}.{suffix})" for suffix in ("pdf", "svg", "csv"))
    return f"![{shown.caption}]({shown.file}.png)\n\n{shown.caption}. ({links})\n"


def _sizes(groups: Sequence[Group]) -> list[str]:
    """Lines about the outputs of ``fedmtl shrink`` in the run folders."""
    tables = [
        f"{group.name}, seed {run.seed}:\n\n{size_table(path)}"
        for group in groups
        for run in group.finished
        if (path := run.folder / "size.json").is_file()
    ]
    return ["### Small models\n\n" + "\n".join(tables)] if tables else []


def _reading(sections: Sequence[Section]) -> str:
    """An explanation of what the page has: a single run has no intervals, and no word on them."""
    rows = [row for own in sections for row in own.rows]
    groups = [group for own in sections for group in own.groups]
    held = any(own.held for own in sections)
    intervals = any(len(group.finished) >= LEAST_SEEDS for group in groups)
    several = any(len(row.metrics) > 1 for row in rows)
    unequal = any(unequal_work(own.rows) for own in sections)
    paragraphs: Mapping[str, bool] = {
        "A value is the metric over all clients' test examples together, of the model that training ended with.": True,
        "The mean score is the mean over tasks of a number for which more is better and 1 is perfect.": several,
        "The score is a number for which more is better and 1 is perfect.": not several,
        "Local passes are how often a client goes over its examples in a round, with gradients"
        + (": where they differ, so may scores for that reason." if unequal else "."): True,
        "The constant guess is the best constant of each task, from the training labels of all clients.": any(
            row.name == CONSTANT for row in rows
        ),
        "± and the bands of pictures are 95 % intervals of Student's t over seeds; there are none with fewer than "
        f"{LEAST_SEEDS} seeds.": intervals,
        "Differences are paired over seeds, and their intervals are not corrected for the number of comparisons.": (
            intervals and len(groups) > 1
        ),
        "A gain over Local is a difference of scores. A task loses when its whole interval lies below 0. The worst "
        "tenth of clients is the mean score of the tenth that fares worst, minus that of Local.": held,
        "Curves over rounds and bytes, and the bytes to a target, are of validation parts: training examples of each "
        "client that were held out. Tables and differences are of the test parts, which were measured once, with the "
        "model of the round that was best on the validation parts.": any(
            run.curve_part == VALID for group in groups for run in group.runs
        ),
        "Runs that have not ended, and runs that have diverged, are in no number and no picture. A run has diverged "
        "when no client's update is finite, when the metric of a task is not finite at the end, or when a task's score "
        "there is −9 or less and was better untrained.": any(group.failures for group in groups),
    }
    return "## How to read this\n\n" + "\n".join(text for text, true in paragraphs.items() if true) + "\n"


def _seeds(group: Group) -> str:
    return f"seed{'s' if len(group.seeds) > 1 else ''} {', '.join(map(str, group.seeds))}"
