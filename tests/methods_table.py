"""The table of methods of fedmtl/algorithms/README.md, made of the registry, the papers and the traits.

``python -m tests.methods_table`` writes it anew.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from fedmtl.algorithms.traits import Sends
from fedmtl.registry.components import REGISTRY, make
from fedmtl.verify.registry import paper_of

PAGE = Path(__file__).parent.parent / "fedmtl" / "algorithms" / "README.md"
HEAD = "| algorithm | paper | down | up | private | technique |\n| --- | --- | --- | --- | --- | --- |\n"


def paper(text: str) -> str:
    """Return "first author, year" as a link to arXiv; a dash for a paper that is not there."""
    number = re.search(r"arXiv:([\d.]+\d)", text)
    years = re.findall(r"\b(?:19|20)\d\d\b", text.partition("arXiv:")[0])
    if number is None or not years:
        return "–"
    author = re.split(r"[,.]", text)[0].split()[-1]
    return f"[{author} et al. {years[-1]}](https://arxiv.org/abs/{number[1]})"


def cells(sends: Sends) -> tuple[str, str, str]:
    """Return what is down, up and private, in words."""

    def words(part: str, note: str, extra: tuple[str, ...] = ()) -> str:
        return part + (f" ({note})" if note else "") + "".join(f"; `{name}`" for name in extra)

    private = words(sends.private, sends.private_note) + ("; numbers of it are sent" if sends.private_sent else "")
    down, up = words(sends.down, sends.down_note, sends.down_extra), words(sends.up, sends.up_note, sends.up_extra)
    return down, up, private


def rows() -> list[list[str]]:
    """Return a row for each algorithm, in the order of the registry."""
    found = []
    for name in REGISTRY["algorithm"]:
        algorithm: Any = make("algorithm", name)
        wraps = "algorithm" in {field.name for field in dataclasses.fields(algorithm)}
        sent = ("as `algorithm`",) * 3 if wraps else cells(algorithm.traits.sends)
        found.append([f"`{name}`", paper(paper_of(type(algorithm))), *sent, algorithm.traits.technique])
    return found


def written() -> str:
    """Return the page with the table of today."""
    before, head, after = PAGE.read_text(encoding="utf-8").partition(HEAD)
    assert head, f"{PAGE} has no table of methods"
    rest = after[len("".join(re.findall(r"^\|.*\n", after.partition("\n\n")[0] + "\n", re.MULTILINE))) :]
    return before + head + "".join(f"| {' | '.join(row)} |\n" for row in rows()) + rest


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
