"""Comparisons as text."""

from collections.abc import Mapping, Sequence

from fedmtl.bench.compare import ComparedSystem
from fedmtl.bench.record import BenchRecord
from fedmtl.core.terminal import columns
from fedmtl.core.text_table import TextColumn, fitted


def comparison(lines: Sequence[ComparedSystem], phases: Mapping[str, float]) -> str:
    """The table of one workload; what each system did; and where fedmtl's rounds go."""
    head = ("system", "clients/s", "fedmtl is", "of the turns", "round", "first round", "memory")
    rows = [
        (
            line.system,
            number(line.rate),
            "" if place == 0 else f"{number(line.times)}×",
            "" if place == 0 else f"{number(line.least)}-{number(line.most)}×",
            milliseconds(line.round_ms),
            f"{line.first_seconds:.1f} s",
            f"{line.pss / 1e6:,.0f} MB" if line.pss else "?",
        )
        for place, line in enumerate(lines)
    ]
    text = [aligned(head, rows)]
    for line in lines:
        if line.evidence:
            text.append(f"{line.system}: {'' if line.equal else 'NOT THE SAME WORK: '}{line.evidence}.")
    if phases:
        text.append(f"fedmtl's rounds, the first one included: {shares(phases)}.")
    return "\n".join(text)


def turn_line(turn: int, turns: int, system: str, record: BenchRecord) -> str:
    """Measurements of one run of a system, in a line for while others are still to come."""
    memory = f"  {record.pss / 1e6:,.0f} MB" if record.pss else ""
    rate = f"{number(record.rate)} clients/s  first round {record.first_seconds:.1f} s"
    return f"  turn {turn}/{turns}  {system:<20}  {rate}{memory}"


def shares(phases: Mapping[str, float]) -> str:
    """Phases from the longest, in milliseconds a round and in percent."""
    total = sum(phases.values()) or 1.0
    ordered = sorted(phases.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {milliseconds(spent)} ({spent / total:.0%})" for name, spent in ordered)


def number(value: float) -> str:
    """Two digits after the point below 10, none above 100."""
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns; the first to the left, the others to the right; on a terminal no wider than that."""
    cells = zip(*rows, strict=True) if rows else ([] for _ in head)
    return fitted([TextColumn(name, list(column)) for name, column in zip(head, cells, strict=True)], columns()).text
