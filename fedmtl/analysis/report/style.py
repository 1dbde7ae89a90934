"""The style of all figures, and the files that a figure becomes. Sizes are those on paper: a figure is not scaled.

A paper of two columns has some 3.4 inches for a column and 7.0 for both. The smallest letters are 7 points.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from fedmtl.core.files import write_atomic

COLUMN, WIDE = 3.4, 7.0
"""Inches."""

DPI = 200
SMALL = 7.0
"""Points: labels and ticks."""
INK = "#222222"
PALE = "#666666"

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.8,
    # A name that a user gave may hold a dollar sign, which begins no formula.
    "text.parse_math": False,
    # Letters stay letters, which other programs find and edit; publishers refuse fonts of type 3.
    "svg.fonttype": "none",
    "svg.hashsalt": "fedmtl",
    "pdf.fonttype": 42,
}

# No time and no version: equal figures are equal files.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


@contextmanager
def style() -> Iterator[None]:
    """Inside, figures have the style; settings of matplotlib outside stay as they are."""
    with matplotlib.rc_context(STYLE):
        yield


FORMATS = ("png", "pdf", "svg")


def files_of(figure: Figure, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """Format -> the figure as a file of it; the same figure gives the same bytes.

    It is laid out once and drawn once for each format. ``savefig`` would do both twice, for each of them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    files: dict[str, bytes] = {}
    with style():
        figure.dpi = DPI
        lay_out(figure)
        canvases = {
            "png": lambda: FigureCanvasAgg(figure).print_png,
            "pdf": lambda: FigureCanvasPdf(figure).print_pdf,
            "svg": lambda: FigureCanvasSVG(figure).print_svg,
        }
        for format in formats:
            out = io.BytesIO()
            figure.dpi = DPI  # printing of the others leaves 72
            canvases[format]()(out, metadata=_METADATA[format])
            files[format] = out.getvalue()
    return files


def write_figure(figure: Figure, path: Path) -> None:
    """Write the figure, in one step, as a file of the format that the path's ending names."""
    format = path.suffix[1:].lower()
    write_atomic(path, files_of(figure, [format])[format])


def lay_out(figure: Figure) -> None:
    """Give the panels their places, and keep them there; nothing where that was done before."""
    if engine := figure.get_layout_engine():
        for _ in range(2):  # ticks depend on the size of a panel, and that on the ticks' labels
            engine.execute(figure)
        figure.set_layout_engine("none")
