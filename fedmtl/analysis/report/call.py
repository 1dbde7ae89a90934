"""The report of runs, from Python: what ``fedmtl report`` writes."""

from collections.abc import Iterable
from pathlib import Path


def report(
    folders: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    target: float | None = None,
    html: bool = False,
) -> list[Path]:
    """Draw pictures of runs, and write a table; or write one page of HTML.

    >>> import fedmtl
    >>> files = fedmtl.report("runs/first")  # doctest: +SKIP

    Args:
        folders: a run folder, or a folder that holds some at any depth; or several of them.
        out: the folder to write to; default: the first of ``folders``.
        target: the mean score over tasks for which to count the bytes that it took.
        html: write ``report.html`` alone: a page that needs no network, to choose runs and tasks on.

    Returns:
        The files that were written, ``report.md`` last.

    Raises:
        FileNotFoundError: a folder without a run.
        ValueError: a damaged run, or two runs of one experiment with one seed.
    """
    several = [folders] if isinstance(folders, (str, Path)) else list(folders)
    if not several:
        raise ValueError("report needs a run folder or more, got none.")
    if html:
        from fedmtl.analysis.html import write_html

        return [write_html(several, several[0] if out is None else out)]
    from fedmtl.analysis.report.write import write_report

    return write_report(several, several[0] if out is None else out, target)
