"""Note on methods whose clients do unequal work."""

from collections.abc import Sequence

from fedmtl.algorithms.common.work import local_passes
from fedmtl.analysis.floor import CONSTANT
from fedmtl.analysis.runs import Run
from fedmtl.analysis.table_row import ExperimentRow
from fedmtl.core.markdown import cell
from fedmtl.registry.components import make


def unequal_work(rows: Sequence[ExperimentRow]) -> str:
    """A line for below a table whose experiments do unequal local work; empty where they do not."""
    rows = [row for row in rows if row.name != CONSTANT]
    work = {(row.passes, row.batch_size) for row in rows}
    if len(work) < 2:
        return ""
    sizes = {row.batch_size for row in rows}
    said: dict[str, list[str]] = {}
    for row in rows:
        passes = (
            "an unknown number of passes" if row.passes is None else f"{row.passes} pass{'es'[: 2 * (row.passes != 1)]}"
        )
        batches = f" in batches of {row.batch_size or 'all its examples'}" if len(sizes) > 1 else ""
        said.setdefault(passes + batches, []).append(cell(row.name))
    each = "; ".join(f"{work} with {', '.join(names)}" for work, names in said.items())
    return f"\nLocal work differs, and scores with it: in a round a client takes {each}.\n"


def passes_of(runs: Sequence[Run]) -> int | None:
    """Return the passes in the runs' summaries; without a summary, those of the experiment's algorithm, or None."""
    written = [run.summary["local_passes"] for run in runs if "local_passes" in run.summary]
    if written:
        return written[0]
    try:
        return local_passes(make("algorithm", runs[0].experiment["algorithm"]))
    except ValueError:  # a class of one's own, whose file is not imported for a table
        return None
