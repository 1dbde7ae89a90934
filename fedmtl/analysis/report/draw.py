"""The picture of a partition from Python."""

from pathlib import Path
from typing import Any

from fedmtl.core.bounds import shown
from fedmtl.data.base import Dataset, Federation
from fedmtl.data.skew import label_skew


def draw_labels(data: Any, file: str | Path, seed: int = 0) -> Path:
    """Draw the labels of each client of a data set: a bar a client, its classes stacked, its skew beside it.

    >>> import fedmtl
    >>> fedmtl.draw_labels(fedmtl.Digits(partition="Pathological(2)"), "labels.png")  # doctest: +SKIP

    Args:
        data: a data set, or a ``Federation``.
        file: a .png, .pdf or .svg.
        seed: by which the data set is loaded.

    Returns:
        The file.

    Raises:
        ValueError: another suffix, no such folder, or no data set.
    """
    from fedmtl.analysis.report.label_skew import label_picture
    from fedmtl.analysis.report.style import write_figure

    path = Path(file).resolve()
    if path.suffix.lower() not in (".png", ".pdf", ".svg") or not path.parent.is_dir():
        raise ValueError(
            f"draw_labels writes a .png, .pdf or .svg into a folder that is there, got {shown(str(file))}."
        )
    if not isinstance(data, Federation | Dataset):
        raise ValueError(f"draw_labels takes a data set, such as Digits(), or its Federation, got {shown(data)}.")
    federation = data if isinstance(data, Federation) else data.load(seed)
    name = "the federation" if data is federation else type(data).__name__
    figure = label_picture(name, federation, label_skew(federation)).figure
    write_figure(figure, path)
    return path
