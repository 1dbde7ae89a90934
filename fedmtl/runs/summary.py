"""The summary of a run: metrics, bytes, seconds and digests, and its file."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xxhash import xxh3_128_hexdigest

from fedmtl.algorithms.common.work import local_passes
from fedmtl.core.bounds import shown
from fedmtl.core.file_format import FORMAT, check_format
from fedmtl.core.trees import sha256
from fedmtl.protocol.best_round import BestRound
from fedmtl.protocol.ledger import Ledger
from fedmtl.runs.checkpoint import Saved
from fedmtl.runs.columns import json_number
from fedmtl.runs.experiment import Experiment
from fedmtl.runs.transport import transport
from fedmtl.server.server import Server
from fedmtl.tables.schemas import PURPOSES, TRAINING_PURPOSES, Row
from fedmtl.tasks.worst import worst_tenth


def summarise(
    experiment: Experiment,
    server: Server,
    last: Iterable[Row],
    saved: Saved,
) -> dict[str, Any]:
    """The last model's metrics for each task, bytes, seconds, and hashes that are equal where two runs are the same.

    ``bytes`` come from the ledger; ``bytes.messages`` were counted in Flower's messages, where a Grid of one
    machine may hold a broadcast once for many clients, and a network never does. ``bytes.train`` holds all that made
    the model: raw data, too, and what clients agreed on before the first round, which ``bytes.prepare`` shows alone.

    ``measured`` is how many of the clients were: where it is fewer than ``clients``, all numbers of ``tasks`` are over
    a sample. ``client_mean`` is the plain mean over the clients that own the task and have a labelled test example;
    ``worst_tenth`` the mean over the tenth of them, rounded up, that is worst. Of these clients, ``clients`` have a
    number and ``diverged`` have none; where some diverged, so has either mean, which is None. ``local_passes`` is a
    client's work in a round, as in ``fedmtl.algorithms.common.work``.

    Where clients have validation parts, ``tasks`` and ``mean_score`` are of the best round's model on the test part,
    ``valid_score`` is what it was chosen by, and ``stopped`` says after which measured round training ended and why.

    Args:
        last: the rows of the last model.
        saved: of the run, with the last model's mean score.
    """
    by_task: dict[str, list[Row]] = {}
    for row in last:
        by_task.setdefault(row["task"], []).append(row)
    tasks = {}
    for name, task in server.plan.tasks.items():
        rows = by_task.get(name, [])
        values = [row["value"] for row in rows if row["client"] is not None and row["examples"] > 0]
        numbers = [np.nan if value is None else value for value in values]
        pooled = next((row for row in rows if row["client"] is None), None)
        tasks[name] = {
            "metric": task.metric_name,
            "higher_is_better": task.higher_is_better,
            "value": pooled["value"] if pooled else None,
            "score": pooled["score"] if pooled else None,
            "client_mean": json_number(float(np.mean(numbers)) if numbers else np.nan),
            "worst_tenth": json_number(worst_tenth(numbers, task.higher_is_better)),
            "clients": len(values) - values.count(None),
            "diverged": values.count(None),
        }
    ledger = server.ledger
    return {
        "format": FORMAT,
        "name": experiment.name,
        "label": experiment.label,
        "algorithm": repr(experiment.algorithm),
        "up_codec": repr(experiment.up_codec),
        "down_codec": repr(experiment.down_codec),
        "seed": experiment.seed,
        "rounds": server.schedule.rounds,
        "clients": len(server.roster),
        "measured": len(server.measured),
        "local_passes": local_passes(experiment.algorithm),
        "tasks": tasks,
        "rejected": dict(sorted(server.rejected.items())),
        "mean_score": None if np.isnan(saved.score) else saved.score,
        "bytes": {
            **_bytes(ledger, PURPOSES),
            "train": _bytes(ledger, TRAINING_PURPOSES),
            "evaluate": _bytes(ledger, ("evaluate",)),
            **({"prepare": _bytes(ledger, ("prepare",))} if ledger.total(purposes=("prepare",)) else {}),
            "messages": dict(saved.message_bytes),
        },
        **({"transport": transport(saved.transport, sum(saved.seconds.values()))} if saved.transport else {}),
        "seconds": {**saved.seconds, "total": sum(saved.seconds.values())},
        "digests": {
            "server_state": sha256(server.state),
            "rows": saved.rows_digest,
            "ledger": ledger.digest(),
        },
        **({} if server.clock is None else {"simulated": server.clock.summary}),
        **(_stopped(experiment, server.best) if server.schedule.validates else {}),
    }


def _stopped(experiment: Experiment, best: BestRound) -> dict[str, Any]:
    early = best.exhausted(experiment.patience)
    reason = f"patience: {best.waited} measured rounds without a better score" if early else "all rounds are done"
    return {
        "valid_score": json_number(best.score),
        "stopped": {"round": best.last, "best_round": best.round, "reason": reason},
    }


def _bytes(ledger: Ledger, purposes: Any) -> dict[str, int]:
    up, down = ledger.total("up", purposes), ledger.total("down", purposes)
    return {"up": up, "down": down, "total": up + down}


def summary_to_bytes(summary: Mapping[str, Any]) -> bytes:
    """The content of ``summary.json``, with a checksum over the rest of it: a finished run has it whole."""
    return json.dumps({**summary, "checksum": _checksum(summary)}, indent=2).encode()


def summary_from_bytes(data: bytes, path: Path) -> dict[str, Any]:
    """The summary that ``summary_to_bytes`` wrote to a file.

    Raises:
        OtherFormat: another release wrote it.
        ValueError: what is no JSON object, or does not fit its checksum.
    """
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"an object is expected, got {shown(found)}")
    checksum = found.pop("checksum", None)
    if "format" in found:  # before the checksum, which another release may take of other content
        check_format(path, found["format"])
    if checksum is not None and checksum != _checksum(found):
        raise ValueError("its content does not fit its checksum")
    check_format(path, found.get("format", 1))
    return found


def _checksum(summary: Mapping[str, Any]) -> str:
    return xxh3_128_hexdigest(json.dumps(summary, sort_keys=True).encode())
