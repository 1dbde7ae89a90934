"""The whole benchmark: workloads in turns, the sweep, and the file of results."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fedmtl.bench.compare import as_dict, compare, last_rounds, phases
from fedmtl.bench.data import write_data
from fedmtl.bench.network import flat, make_network
from fedmtl.bench.record import BenchRecord
from fedmtl.bench.systems import LOOP, System, fedmtl, peers
from fedmtl.bench.tables import aligned, comparison, milliseconds, number, turn_line
from fedmtl.bench.turns import in_turns, run_once
from fedmtl.bench.workloads import Workload, sweep
from fedmtl.core.files import write_atomic
from fedmtl.runs.environment import environment


def bench(
    workloads: Sequence[Workload],
    against: Sequence[str],
    turns: int,
    workers: int,
    compile: bool,
    swept: bool,
    out: Path | None,
    say: Callable[[str], None],
    progress: Callable[[str], None],
) -> bool:
    """Run everything, and say whether all systems did the same work.

    Args:
        workloads: each is run on every system.
        against: "flower", "pfl".
        turns: how often each system runs; medians are over them.
        workers: processes, of those systems that have them.
        compile: let fedmtl compile what runs for long, except in the sweep.
        swept: run the sweep too.
        out: a JSON file for all figures, written anew after each turn: a run of minutes may be interrupted.
        say: called with each part of the report, and with a line of each turn, when it is known.
        progress: called with a line before each run.

    Raises:
        ValueError: an unknown word in ``against``.
        RuntimeError: a system failed.
        OSError: ``out`` cannot be written.
    """
    systems = [fedmtl(workers, compile), LOOP]
    for system in (system for word in dict.fromkeys(against) for system in peers(word, workers)):
        if system.installed:
            systems.append(system)
        else:
            say(f"{system.name} is left out: it is not installed; {system.install}")
    report: dict[str, Any] = {"environment": environment(), "turns": turns, "workloads": [], "sweep": []}

    def save() -> None:
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(out, json.dumps(report, indent=2).encode())

    save()  # a file that cannot be written is found before anything is run
    for workload in workloads:
        report["stopped"] = {"workload": workload.name, "turns": []}  # stands there while the workload goes on

        def ended(turn: int, system: System, record: BenchRecord) -> None:
            report["stopped"]["turns"].append({**asdict(record), "turn": turn, "system": system.name})
            say(turn_line(turn, turns, system.name, record))
            save()

        part = _workload(workload, systems, turns, say, progress, ended)
        report["workloads"].append(part)
        del report["stopped"]
        save()
    if swept:
        report["sweep"] = _sweep(workers, say, progress)
        save()
    return all(line["equal"] is not False for part in report["workloads"] for line in part["systems"])


def _workload(
    workload: Workload,
    systems: Sequence[System],
    turns: int,
    say: Callable[[str], None],
    progress: Callable[[str], None],
    ended: Callable[[int, System, BenchRecord], None],
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fedmtl-bench-") as folder:
        write_data(workload, Path(folder))
        runs = in_turns(systems, Path(folder), workload.rounds, turns, progress, ended)
        initial = flat(make_network(workload, Path(folder)).trunk.state_dict())
    lines = compare(workload, runs, initial)
    spent = phases(runs[0])
    say(f"{workload.text}, {turns} turn{'s' * (turns > 1)}\n{comparison(lines, spent)}\n{last_rounds(runs)}")
    return {
        "workload": asdict(workload),
        "systems": [as_dict(run, line) for run, line in zip(runs, lines, strict=True)],
        "phases_ms": spent,
    }


def _sweep(workers: int, say: Callable[[str], None], progress: Callable[[str], None]) -> list[dict[str, Any]]:
    points, rows = [], []
    with tempfile.TemporaryDirectory(prefix="fedmtl-bench-") as home:
        for workload, count in sweep(workers):
            progress(f"sweep: {workload.name}")
            folder = Path(home) / "data"
            write_data(workload, folder)
            record, _ = run_once(fedmtl(count), folder, workload.rounds, Path(home))
            data = sum(file.stat().st_size for file in folder.glob("*.npy"))
            shutil.rmtree(folder)
            points.append({"workload": asdict(workload), "workers": count, "data_bytes": data, **asdict(record)})
            round_ms = 1000 * workload.cohort / record.rate
            memory = f"{record.pss / 1e6:,.0f} MB" if record.pss else "?"
            first = f"{record.first_seconds:.1f} s"
            say(f"  {workload.name}: {number(record.rate)} clients/s, round {milliseconds(round_ms)}, {memory}")
            rows.append(
                (workload.name, number(record.rate), milliseconds(round_ms), first, memory, f"{data / 1e6:,.0f} MB")
            )
    head = ("W2 but for", "clients/s", "round", "first round", "memory", "of it data")
    say(f"fedmtl alone, each point once\n{aligned(head, rows)}\n")
    return points


def quick(workload: Workload) -> Workload:
    """Few rounds: enough to see that all works, not to quote."""
    return replace(workload, rounds=3)
