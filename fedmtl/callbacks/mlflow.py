"""MLflow: a run's settings as parameters, its curves as metrics."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fedmtl.callbacks.base import RunInfo, package
from fedmtl.callbacks.scalars import Scalar, flat, scalars, summary_scalars
from fedmtl.tables.schemas import Row

TAG = "fedmtl.run"
"""Tag of an MLflow run that holds the id of ours: a run that is resumed or logged again is found by it."""

MOST_METRICS, MOST_PARAMS = 1000, 100
"""In one call of MLflow."""

MOST_VALUE = 500
"""Characters of a parameter, which every version and store of MLflow takes."""


class Store(NamedTuple):
    """A run in MLflow's store."""

    client: Any
    run: str
    last: Mapping[str, int]
    """Metric -> the last step that the store had when the run went on; none of a new run."""


@dataclass(frozen=True)
class MLflow:
    """Run in MLflow's store, with every curve as a metric and the settings as parameters, shown by mlflow ui."""

    uri: str = ""
    """Tracking URI, such as sqlite:///runs/mlflow.db or http://host:5000; empty: MLFLOW_TRACKING_URI, or MLflow's own
    default, a file in the current folder."""
    experiment: str = ""
    """MLflow's experiment; empty: the name of ours."""
    clients: bool = True
    """True where each client has curves of its own, beside those over all clients."""

    def start(self, run: RunInfo) -> Store:
        package("sqlalchemy", "MLflow", "mlflow")
        client = package("mlflow.tracking", "MLflow", "mlflow").MlflowClient(self.uri or None)
        name = self.experiment or str(run.experiment["name"])
        known = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if known is None else known.experiment_id
        found = client.search_runs([experiment], f"tags.`{TAG}` = '{run.id}'", max_results=1)
        if found:
            client.update_run(found[0].info.run_id, status="RUNNING")
            return Store(client, found[0].info.run_id, {m.key: m.step for m in found[0].to_proto().data.metrics})
        tags = {TAG: run.id, "fedmtl.label": run.label[:MOST_VALUE]}
        created = client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
        entities = package("mlflow.entities", "MLflow", "mlflow")
        params = [entities.Param(_key(key), str(value)[:MOST_VALUE]) for key, value in flat(run.experiment)]
        for at in range(0, len(params), MOST_PARAMS):
            client.log_batch(created, params=params[at : at + MOST_PARAMS])
        return Store(client, created, {})

    def rows(self, writer: Store, table: str, rows: Sequence[Row]) -> None:
        _log(writer, scalars(table, rows, self.clients))

    def end(self, writer: Store, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            _log(writer, summary_scalars(summary))
            for name, digest in summary["digests"].items():
                writer.client.set_tag(writer.run, f"fedmtl.digest.{name}", digest)
        writer.client.set_terminated(writer.run, "KILLED" if summary is None else "FINISHED")


def _log(store: Store, points: Iterable[Scalar]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    keyed = ((_key(tag), step, value) for tag, step, value in points)
    metrics = [Metric(key, value, now, step) for key, step, value in keyed if step > store.last.get(key, -1)]
    for at in range(0, len(metrics), MOST_METRICS):
        store.client.log_batch(store.run, metrics=metrics[at : at + MOST_METRICS])


def _key(text: str) -> str:
    """A name with the characters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", text)[:250]
