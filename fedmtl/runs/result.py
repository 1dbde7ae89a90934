"""Result of a run: rows, a ledger and a summary.

A run's folder holds ``experiment.toml`` (resolved), ``environment.json``, ``rounds.columns`` (a row for each round,
client and task, and one over all clients with client null), ``ledger.columns`` (a row for each packet),
``measures.columns`` and ``confusion.columns`` (metrics beside the primary one, and confusion counts),
``training.columns`` (clients' training losses), ``checkpoint/`` (the state of the last finished round),
``model.safetensors``, ``diagnostics.json`` (the algorithm's diagnostics of the clients, if it has any) and
``summary.json`` (at the end); and of a run of few lines ``rounds.jsonl`` and ``ledger.jsonl``, the same rows as lines
of JSON.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from xxhash import xxh3_128_hexdigest

from fedmtl.algorithms.common.work import local_passes
from fedmtl.core.bounds import shown
from fedmtl.core.file_format import FORMAT, check_format
from fedmtl.core.trees import sha256
from fedmtl.metrics import MEASURES
from fedmtl.protocol.best_round import Best
from fedmtl.protocol.ledger import Ledger
from fedmtl.runs.columns import json_number
from fedmtl.runs.experiment import Experiment
from fedmtl.server.server import Server
from fedmtl.tables.schemas import TEST, Row, names_of, with_names
from fedmtl.tasks.worst import worst_tenth


@dataclass
class Result:
    """Result of a run; ``pandas.DataFrame(result.rows)`` and ``pandas.DataFrame(result.ledger)`` are tables.

    Rows and ledger become lists when they are first asked for; those of a run in a folder are then read from its files.
    """

    make_rows: Callable[[], list[Row]] = field(repr=False)
    make_ledger: Callable[[], list[Row]] = field(repr=False)
    summary: dict[str, Any]
    state: Any
    """The algorithm's server state after the last round, or the best on validation parts: for FedPer the trunk."""
    folder: Path | None = None
    diagnostics: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Diagnostics of the algorithm about clients, such as a similarity [K, K]; rows are all clients, ascending."""
    make_measures: Callable[[], list[Row]] = field(default=list, repr=False)
    make_confusion: Callable[[], list[Row]] = field(default=list, repr=False)
    make_training: Callable[[], list[Row]] = field(default=list, repr=False)

    @cached_property
    def rows(self) -> list[Row]:
        """One for each round, client and task, and one over all clients (client None)."""
        return with_names(self.make_rows(), names_of(self.summary))

    @cached_property
    def ledger(self) -> list[Row]:
        """One for each packet."""
        return with_names(self.make_ledger(), names_of(self.summary))

    @cached_property
    def measures(self) -> list[Row]:
        """Metrics beside the primary one: a row for each client and task, and one over all clients (client None), of
        the models that are measured by all metrics."""
        return with_names(self.make_measures(), names_of(self.summary))

    @cached_property
    def confusion(self) -> list[Row]:
        """Examples by their class and the predicted one: of all clients, and for the last model of each client, too."""
        return with_names(self.make_confusion(), names_of(self.summary))

    @cached_property
    def training(self) -> list[Row]:
        """Training losses: a row for each round and client whose update was used, and one over all of these clients
        (client None)."""
        return with_names(self.make_training(), names_of(self.summary))


@dataclass(frozen=True)
class Progress:
    """Progress of a run after a round."""

    round: int
    """Round that is done; with ``tests``, the best round, whose model is tested."""
    rounds: int
    mean_score: float
    """Mean over tasks of the score over all clients, of the last model that was measured."""
    bytes_up: int
    bytes_down: int
    problems: Mapping[int, str] = field(default_factory=dict)
    part: str = TEST
    """The part of clients' examples that ``mean_score`` is of."""
    tests: bool = False
    """True where this is the test of the best round at the end of a run with validation parts."""
    best: Best = Best()
    """The best measured round so far, where there are validation parts."""
    bytes_evaluation: int = 0
    """Bytes of measurements, in both directions."""
    measured: bool = True
    """True where this round measured a model; else ``mean_score`` is an earlier one."""
    train_loss: float | None = None
    """Mean training loss of the clients of this round, NaN where one has diverged; None where none is sent."""

    @property
    def score_text(self) -> str:
        """The score that this round measured; else its training loss, or that nothing is known: no score of an earlier
        round."""
        if self.measured:
            what = "mean score" if self.part == TEST else "validation score"
            return f"{what} {_number(self.mean_score, '.4f')}"
        return "not measured yet" if self.train_loss is None else f"training loss {_number(self.train_loss, '.4g')}"


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def named_tensors(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of nested mappings and NamedTuples under dotted names."""
    if isinstance(tree, Tensor):
        return {prefix: tree.contiguous().clone()}  # safetensors refuses two names of one memory
    if hasattr(tree, "_asdict"):
        tree = tree._asdict()
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    tensors: dict[str, Tensor] = {}
    for key, value in items:
        tensors.update(named_tensors(value, f"{prefix}.{key}" if prefix else str(key)))
    return tensors


def measures_of(row: Row) -> dict[str, float]:
    """The metrics of a row of the table ``measures`` that have a value."""
    return {name: row[name] for name in MEASURES if row[name] is not None}


def diagnostics_of(server: Server) -> dict[str, NDArray[Any]]:
    """Return the algorithm's diagnostics of the clients; none where it has none."""
    learnt = getattr(server.plan.algorithm, "learnt", None)
    found = {} if learnt is None else learnt(server.state)
    return {
        name: np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
        for name, values in found.items()
    }


def diagnostics_text(diagnostics: Mapping[str, NDArray[Any]], clients: Iterable[int]) -> str:
    """The content of ``diagnostics.json``: name -> the clients of its rows, and the numbers; NaN is null."""
    rows = list(clients)

    def numbers(values: Any) -> Any:
        if isinstance(values, list):
            return [numbers(value) for value in values]
        return values if np.isfinite(values) else None

    found = {name: {"clients": rows, "values": numbers(values.tolist())} for name, values in diagnostics.items()}
    return json.dumps(found)


def summarise(
    experiment: Experiment,
    server: Server,
    last: Iterable[Row],
    mean_score: float,
    rows_digest: str,
    seconds: Mapping[str, float],
    message_bytes: Mapping[str, int],
) -> dict[str, Any]:
    """The last model's metrics for each task, bytes, seconds, and hashes that tell whether two runs are the same.

    ``bytes`` come from the ledger; ``bytes.messages`` were counted in Flower's messages, where a Grid of one
    machine may hold a broadcast once for many clients, and a network never does.

    ``measured`` is how many of the clients were: where it is fewer than ``clients``, all numbers of ``tasks`` are over
    a sample. ``client_mean`` is the plain mean over the clients that own the task and have a labelled test example;
    ``worst_tenth`` the mean over the tenth of them, rounded up, that is worst. Of these clients, ``clients`` have a
    number and ``diverged`` have none; where some diverged, so has either mean, which is None. ``local_passes`` is a
    client's work in a round, as in ``fedmtl.algorithms.common.work``.

    Where clients have validation parts, ``tasks`` and ``mean_score`` are of the best round's model on the test part,
    ``valid_score`` is what it was chosen by, and ``stopped`` says after which measured round training ended and why.

    Args:
        last: the rows of the last model.
        mean_score: the last model's.
        rows_digest: the digest of all that was measured.
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
        "rounds": server.rounds,
        "clients": len(server.roster),
        "measured": len(server.measured),
        "local_passes": local_passes(experiment.algorithm),
        "tasks": tasks,
        "rejected": dict(sorted(server.rejected.items())),
        "mean_score": None if np.isnan(mean_score) else mean_score,
        "bytes": {
            **_bytes(ledger, ("train", "raw_data", "evaluate")),
            "train": _bytes(ledger, ("train", "raw_data")),
            "evaluate": _bytes(ledger, ("evaluate",)),
            "messages": dict(message_bytes),
        },
        "seconds": {**seconds, "total": sum(seconds.values())},
        "digests": {
            "server_state": sha256(server.state),
            "rows": rows_digest,
            "ledger": ledger.digest(),
        },
        **(_stopped(experiment, server.best) if server.validates else {}),
    }


def _stopped(experiment: Experiment, best: Best) -> dict[str, Any]:
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
    """The content of ``summary.json``, with a checksum over the rest of it: it answers for a finished run."""
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
    if checksum is not None and checksum != _checksum(found):
        raise ValueError("its content does not fit its checksum")
    check_format(path, found.get("format", 1))
    return found


def _checksum(summary: Mapping[str, Any]) -> str:
    return xxh3_128_hexdigest(json.dumps(summary, sort_keys=True).encode())
