"""A report in a folder: the page, the tables and the pictures of some runs."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedmtl.analysis.along import MethodLines, along
from fedmtl.analysis.diagnostics import Diagnostic
from fedmtl.analysis.groups import Group, by_problem, group_runs
from fedmtl.analysis.read import find_runs, read_run
from fedmtl.analysis.report.byte_table import byte_table
from fedmtl.analysis.report.classes import confusion_pictures, further_tables, table_files
from fedmtl.analysis.report.numbers import to_csv
from fedmtl.analysis.report.page import Section, Shown, page, section_of
from fedmtl.analysis.report.tables import gain_files, result_files
from fedmtl.analysis.runs import Run
from fedmtl.analysis.table import tabulate
from fedmtl.analysis.words import saving_sentences
from fedmtl.runs.aliases import read_aliases
from fedmtl.runs.axis import read_axis
from fedmtl.runs.run_folder import write_outputs

if TYPE_CHECKING:
    from fedmtl.analysis.report.figure import Picture

HEADINGS = {"bytes": "Bytes by column", "measures": "Other metrics", "recall": "Recall of each class"}

MAX_CLIENTS = 500
"""Most clients of which a matrix is drawn; ``diagnostics.json`` has all."""


def write_report(folders: Iterable[str | Path | Run], out: str | Path, target: float | None = None) -> list[Path]:
    """Read the runs in some folders and write ``report.md``, its tables and its pictures.

    Each picture is PNG, PDF and SVG, with the numbers drawn as CSV; each table is CSV, Markdown and LaTeX. Equal runs
    give equal files.

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
    files, first = _along(along(runs, axis, aliases) if axis else [])
    is_along = bool(files)
    first += [f"{sentence}\n" for sentence in saving_sentences(groups, axis)]
    sections: list[Section] = []
    for number, (problem, together) in enumerate(problems.items(), start=1):
        prefix = f"{number}-" if len(problems) > 1 else ""
        # The values of an axis have one picture together, and of their own where there are codecs to compare.
        drawn = _pictures(together, target) if not is_along or any(group.codec for group in together) else []
        for picture in drawn:
            files |= picture.files(prefix)
        shown = [Shown(prefix + picture.name, picture.caption) for picture in drawn]
        further = byte_table(problem, together) | further_tables(problem, together)
        for name, (table, csv) in further.items():
            files |= table_files(name, prefix, table, csv)
        own = section_of(problem, together, tabulate(together, target), shown)
        more = [f"### {HEADINGS[name]}\n\n{table.markdown}" for name, (table, _) in further.items()]
        sections.append(replace(own, more=more))
    files |= result_files([row for own in sections for row in own.rows])
    files |= gain_files([gain for own in sections for gain in own.held])
    files["report.md"] = page(sections, first).encode()
    write_outputs(Path(out), files)
    return [Path(out) / name for name in files]


def _along(found: Sequence[MethodLines]) -> tuple[dict[str, bytes], list[str]]:
    """The files and sections of an axis."""
    files: dict[str, bytes] = {}
    sections = []
    for number, lines in enumerate(found, start=1):
        from fedmtl.analysis.report.along import (  # with matplotlib, as the pictures below
            along_picture,
            along_section,
            scores_table,
        )

        picture = along_picture(lines, f"along-{number}" if len(found) > 1 else "along")
        files |= picture.files()
        files |= table_files(f"{picture.name}-scores", "", scores_table(lines), to_csv(picture.numbers))
        sections.append(along_section(lines, Shown(picture.name, picture.caption)))
    return files, sections


def _pictures(groups: Sequence[Group], target: float | None) -> list["Picture"]:
    """The pictures that show something: no curve of one point, no box of one client, no trade between one and none."""
    finished = [group for group in groups if group.finished]
    if not finished:
        return []
    # matplotlib takes a second to import, which only those wait for who want pictures.
    from fedmtl.analysis.report.clients import clients
    from fedmtl.analysis.report.clock_curves import over_clock
    from fedmtl.analysis.report.curves import overview
    from fedmtl.analysis.report.tasks import tasks
    from fedmtl.analysis.report.tradeoff import tradeoff

    one_task = len({task for group in finished for task in group.metrics}) == 1
    drawn = [
        overview(finished, target),
        tradeoff(finished, target),
        over_clock(finished),
        None if one_task and _metric_is_score(finished) else tasks(finished),
        clients(finished, _client_names(finished)),
        *confusion_pictures(finished),
        *_matrices(finished),
    ]
    return [picture for picture in drawn if picture is not None]


def _metric_is_score(groups: Sequence[Group]) -> bool:
    """True where the one task's curves are those of the overview."""
    return all(group.curve(task).mean == group.score_curve().mean for group in groups for task in group.metrics)


def _matrices(groups: Sequence[Group]) -> list["Picture"]:
    """Pictures of the algorithms' diagnostics of pairs of clients, of each group's first seed that has finished."""
    from fedmtl.analysis.report.matrices import client_matrix

    drawn = []
    for group in groups:
        for name, diagnostic in group.finished[0].diagnostics.items():
            if _is_matrix(diagnostic):
                file = f"diagnostics-{len(drawn) + 1}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"
                caption = f"{group.name}: {name} of clients, seed {group.finished[0].seed}"
                drawn.append(
                    client_matrix(
                        file,
                        caption,
                        name,
                        [group.finished[0].client_name(client) for client in diagnostic.clients],
                        diagnostic.values,
                    )
                )
    return drawn


def _is_matrix(diagnostic: Diagnostic) -> bool:
    if not diagnostic.values or not isinstance(diagnostic.values[0], list) or len(diagnostic.clients) > MAX_CLIENTS:
        return False
    return any(number is not None for row in diagnostic.values for number in row)


def _client_names(groups: Sequence[Group]) -> dict[int, str]:
    """Client -> the name that the user gave it."""
    run = groups[0].finished[0]
    return {client: name for client in run.client_scores() if (name := run.client_name(client)) != str(client)}
