"""Clients with names at the end of a run, each with its tasks' metrics."""

from typing import TYPE_CHECKING

from fedmtl.cli.outcome import LEAD, line, number

if TYPE_CHECKING:
    from fedmtl.runs.result import Result
    from fedmtl.tables.schemas import Row

MOST = 20
"""Clients that are printed."""

READ = 1000
"""Clients with names up to which a run's rows are read for them."""

BESIDE = {"macro_f1": "macro F1", "auc": "AUC", "r2": "R²"}
"""Metrics beside the primary one -> their words."""


def say_clients(result: "Result") -> None:
    """Print a line for each client with a name: its tasks by their metrics, of the model that is tested last."""
    from fedmtl.core.text import escaped
    from fedmtl.tables.client_names import names_of
    from fedmtl.tables.schemas import TEST

    names = names_of(result.summary)
    if not 0 < len(names) <= READ:
        return
    rows = [row for row in result.rows if row["client"] in names and row["part"] == TEST]
    last = max((row["round"] for row in rows), default=0)
    best = result.summary.get("stopped", {}).get("best_round", last)
    beside = {
        (row["client"], row["task"]): row for row in result.measures if row["part"] == TEST and row["round"] == best
    }
    by_client: dict[int, list[str]] = {}
    for row in rows:
        if row["round"] == best and row["examples"]:
            text = _metrics(row, beside.get((row["client"], row["task"])))
            by_client.setdefault(row["client"], []).append(f"{row['task']}: {text}")
    for client, texts in sorted(by_client.items())[:MOST]:
        line(escaped(names[client], 3 * LEAD), "; ".join(texts))
    if len(by_client) > MOST:
        line("…", f"and {len(by_client) - MOST} more clients: fedmtl export FOLDER --what measures")


def _metrics(row: "Row", beside: "Row | None") -> str:
    more = {} if beside is None else {word: beside[name] for name, word in BESIDE.items()}
    texts = [f"{word} {number(value)}" for word, value in more.items() if value is not None]
    return ", ".join([f"{row['metric']} {number(row['value'])}", *texts, f"{row['examples']} examples"])
