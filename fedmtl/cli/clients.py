"""Clients at the end of a run, each with its tasks' metrics and what sharing gave it, and the verdict over all."""

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

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


class Tested(NamedTuple):
    """Rows of the clients' tests of the model that a run ends with."""

    rows: "list[Row]"
    beside: "Mapping[tuple[int, str], Row]"
    """Client and task -> metrics beside the primary one."""

    @property
    def scores(self) -> dict[tuple[int, str], float]:
        """Client and task -> score, more is better; those that are finite."""
        found = {(row["client"], row["task"]): row["score"] for row in self.rows}
        return {key: score for key, score in found.items() if score is not None and isfinite(score)}

    @property
    def examples(self) -> dict[tuple[int, str], int]:
        """Client and task -> labelled test examples."""
        return {(row["client"], row["task"]): row["examples"] for row in self.rows}


def tested(result: "Result") -> Tested:
    """Return the rows of the model that is tested last: of each client and task with a labelled test example."""
    from fedmtl.tables.schemas import TEST

    rows = [row for row in result.rows if row["client"] is not None and row["part"] == TEST]
    best = last_tested(result, rows)
    found = [row for row in rows if row["round"] == best and row["examples"]]
    measures = [row for row in result.measures if row["part"] == TEST and row["round"] == best]
    return Tested(found, {(row["client"], row["task"]): row for row in measures})


def last_tested(result: "Result", rows: "list[Row]") -> int:
    """Return the round of the model that is tested last."""
    return result.summary.get("stopped", {}).get("best_round", max((row["round"] for row in rows), default=0))


def say_clients(result: "Result", floor: "Result | None" = None, table: bool = False) -> None:
    """Print a line for each client with a name: its tasks by their metrics, of the model that is tested last.

    Args:
        result: of the run.
        floor: of ``Local`` on the same data, whose metrics then stand beside, and a verdict follows.
        table: whether the data is a table, whose clients are all printed, also those that are numbers.
    """
    from fedmtl.core.text import escaped
    from fedmtl.tables.client_names import names_of

    names = names_of(result.summary)
    if not (table or names) or len(names) > READ:
        return
    own = tested(result)
    alone = {} if floor is None else _metrics(tested(floor))
    by_client: dict[int, list[str]] = {}
    for (client, task), found in _metrics(own).items():
        if table or client in names:
            text = ", ".join(_beside(word, value, alone.get((client, task))) for word, value in found.items())
            by_client.setdefault(client, []).append(f"{task}: {text}, {own.examples[client, task]} examples")
    for client, texts in sorted(by_client.items())[:MOST]:
        line(escaped(names.get(client, str(client)), 3 * LEAD), "; ".join(texts))
    if len(by_client) > MOST:
        line("…", f"and {len(by_client) - MOST} more clients: fedmtl export FOLDER --what measures")
    if floor is not None and by_client:
        line("verdict", verdict(own.scores, tested(floor).scores))


def verdict(found: Mapping[tuple[int, str], float], alone: Mapping[tuple[int, str], float]) -> str:
    """Return whether sharing pays, by the clients' mean scores over their tasks against learning alone.

    The interval is Student's, of the differences over clients: they share a model and one seed, so it is no interval
    over seeds.
    """
    from fedmtl.analysis.intervals import estimate

    differences: dict[int, list[float]] = {}
    for (client, task), score in found.items():
        if (client, task) in alone:
            differences.setdefault(client, []).append(score - alone[client, task])
    each = [sum(own) / len(own) for own in differences.values()]
    if not each:
        return "none: no client has a score in both runs"
    mean = estimate(each)
    text = f"{signed(mean.mean)} mean score against learning alone"
    if mean.low is None or mean.high is None:
        word = "undecided"
        text += f", with one seed; {len(each)} client{'s' * (len(each) > 1)} and one seed are too few for an interval"
    else:
        word = "sharing pays" if mean.low > 0 else "sharing does not pay" if mean.high < 0 else "undecided"
        better = sum(own > 0 for own in each)
        text += (
            f" [{signed(mean.low)}, {signed(mean.high)}] over {len(each)} clients, better at {better}, with one seed"
        )
    return f"{word}: {text}{'; more seeds: fedmtl compare' if word == 'undecided' else ''}"


def signed(value: float) -> str:
    return f"{value:+z.4f}".replace("-", "−")


def _metrics(own: Tested) -> dict[tuple[int, str], dict[str, float | None]]:
    """Client and task -> the words of its metrics and their values, the primary one first."""
    found: dict[tuple[int, str], dict[str, float | None]] = {}
    for row in own.rows:
        key = row["client"], row["task"]
        beside = own.beside.get(key, {})
        more = {word: beside.get(name) for name, word in BESIDE.items()}
        found[key] = {row["metric"]: row["value"], **{word: value for word, value in more.items() if value is not None}}
    return found


def _beside(word: str, value: float | None, alone: Mapping[str, float | None] | None) -> str:
    """A metric, and that of the client alone."""
    text = f"{word} {number(value)}"
    return text if alone is None else f"{text} (alone {number(alone.get(word))})"
