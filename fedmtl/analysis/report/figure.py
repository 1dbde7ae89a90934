"""A picture of a report: a figure, the numbers drawn in it, and what it shows in a sentence."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from fedmtl.analysis.report.numbers import CsvRows, to_csv
from fedmtl.analysis.report.style import files_of


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure and its numbers."""

    name: str
    """Name of its files, without their suffixes."""
    caption: str
    figure: Figure
    numbers: CsvRows

    def files(self, prefix: str = "") -> dict[str, bytes]:
        """The figure as PNG, PDF and SVG, and its numbers as CSV."""
        stem = prefix + self.name
        drawn = {f"{stem}.{format}": content for format, content in files_of(self.figure).items()}
        return drawn | {f"{stem}.csv": to_csv(self.numbers).encode()}
