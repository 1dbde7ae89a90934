"""The page as one file: numbers, style and program in it, nothing from elsewhere."""

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedmtl.analysis.groups import group_runs
from fedmtl.analysis.html.content import content_of
from fedmtl.analysis.read import find_runs, read_run
from fedmtl.analysis.runs import Run
from fedmtl.runs.aliases import read_aliases
from fedmtl.runs.run_folder import write_outputs

PAGE = "report.html"

# Only what stands in the page runs: nothing is loaded, and nothing is sent but to the server that watches.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


def content(folders: Iterable[str | Path | Run]) -> dict[str, Any]:
    """Return the numbers of the page of some runs, or folders with runs at any depth.

    Raises:
        FileNotFoundError: a folder without a run.
        ValueError: a damaged run, or two runs of one experiment with one seed.
    """
    some = list(folders)
    read = [run for run in some if isinstance(run, Run)]
    runs = [*read, *map(read_run, find_runs(folder for folder in some if not isinstance(folder, Run)))]
    return content_of(group_runs(runs, read_aliases([run.folder for run in runs])))


def html_of(numbers: dict[str, Any], live: str = "") -> str:
    """Return the page.

    Args:
        numbers: made by ``content``.
        live: address that gives newer numbers; empty: the page stays as it is.
    """
    here = Path(__file__)
    css, program = (here.with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # "<" as an escape of JSON: no text of a run can end the element.
    values = json.dumps(numbers, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    watched = f' data-live="{html.escape(live)}"' if live else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>fedmtl: score and communication</title>
<link rel="icon" href="data:,">
<style>
{css}</style>
</head>
<body{watched}>
<h1>Score and communication</h1>
<p class="note" id="live">{"The page follows runs that go on." if live else ""}</p>
<main><noscript>The pictures need JavaScript; report.md has tables.</noscript></main>
<script type="application/json" id="data">{values}</script>
<script>
{program}</script>
</body>
</html>
"""


def write_html(folders: Iterable[str | Path | Run], out: str | Path) -> Path:
    """Write ``report.html`` of some runs, and return its path; equal runs give equal files.

    Args:
        folders: runs, or folders with runs at any depth.
        out: the folder to write to; made where it is missing.

    Raises:
        FileNotFoundError: a folder without a run.
        ValueError: a damaged run, or two runs of one experiment with one seed.
    """
    write_outputs(Path(out), {PAGE: html_of(content(folders)).encode()})
    return Path(out) / PAGE
