"""An experiment as data: tasks, data, algorithm, codecs, and the place where it runs."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, Self, get_type_hints

import numpy as np

from fedmtl.core.bounds import check_int, check_text, shown
from fedmtl.core.field_types import check_type
from fedmtl.core.suggest import did_you_mean
from fedmtl.data.base import Federation, Schema
from fedmtl.engines.base import Engine
from fedmtl.protocol.make_plan import make_plan
from fedmtl.protocol.plan import METRICS, Plan
from fedmtl.registry.allowed import NOTHING, Allowed
from fedmtl.registry.components import COMPONENTS, LISTS, describe, make, make_list
from fedmtl.runs.experiment_fields import BOUNDS, DEFAULT_RUNTIME, EXECUTION_FIELDS
from fedmtl.runs.lossy import check_down_codec, check_lossy_rounds
from fedmtl.runs.lossy import check_lossless as check_lossless
from fedmtl.runs.old_keys import refuse_old_keys
from fedmtl.server.sampling import cohort_size
from fedmtl.timing.timing import UNTIMED, Timing

MADE = "_made"
"""Key of the schema and the plan that an experiment made last: server and clients of one process share it."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run, as data. Components may be given as objects or by name.

    Raises:
        ValueError: a value that is out of range or of the wrong type; the message names it, the rule and the way out.
    """

    name: str = "digits"
    """Name in tables and plots."""
    data: Any = "digits"
    """Dataset: where the clients and their examples come from."""
    model: Any = "MLP"
    """Model: trunk and heads."""
    algorithm: Any = "FedPer"
    """Algorithm, with its hyper-parameters."""
    up_codec: Any = "Dense"
    """Codec of uploads."""
    down_codec: Any = "Dense"
    """Codec of broadcasts: of whole values, or, where it is for differences only, of changes of what clients hold."""
    rounds: int = 30
    """Rounds of training."""
    cohort: int | float = 1.0
    """Clients a round: a whole number, or a fraction of all in (0, 1]."""
    batch_size: int = 16
    """Examples a step; 0 for all of a client's examples at once."""
    augment: tuple[Any, ...] = ()
    """Augmentations of the inputs of training steps, one after the other, such as "RandomShift(2)"; none by default."""
    evaluate_every: int = 1
    """Rounds from one measurement of all clients' models to the next; the first and the last are always measured."""
    evaluate_clients: int = 0
    """Clients that are measured: 0 for all, or that many, drawn once from the seed; rows over all are over these."""
    valid_fraction: float = 0.0
    """Part of each client's training examples, in [0, 1), that is held out, and on which rounds are measured. With one,
    the best measured round is tested at the end, once, and kept; 0: rounds are measured on the test part."""
    patience: int = 0
    """Measured rounds without a better score on the validation part after which training stops; 0: never early."""
    metrics: str = METRICS[0]
    """Models that are measured by all metrics: the "last", "all" that are measured, or none, only by the "primary"."""
    train_loss: bool = False
    """True: each upload holds the client's training loss, in 4 bytes that its header has anyway: rows, curves, and a
    number for rounds that measure no model. It costs 1 to 2 % of the time of a round of very small models."""
    train_metrics: bool = False
    """True: each upload holds the metrics that the algorithm adds for its client, 4 bytes each: rows, curves."""
    seed: int = 0
    """Seed of all randomness: partition, initial parameters, cohorts, batches, codecs."""
    engine: Any = "VMap"
    """Engine of a node: "Loop" trains its clients one by one, "VMap(chunk=0)" a cohort at once."""
    runtime: Any = DEFAULT_RUNTIME
    """Place of the nodes: "Ray(workers=2)" in Ray actors, "InProcess" one in this process."""
    max_weight: float = 1.0
    """A device's client weighs at most this times the training examples that the server knows of; 0: any weight."""
    max_norm: float = 1000.0
    """A device's update is at most this times as long as the model, or as a typical update; 0: any length."""
    link: Any = "Unlimited"
    """Clients' bandwidth on the simulated clock: "LogNormal(down_mbps=20, up_mbps=5)"; "Unlimited" takes no time."""
    devices: Any = "Instant"
    """Clients' speed and power on the simulated clock: "DeviceClasses"; "Instant" takes no time."""
    availability: Any = "Always"
    """Times at which clients can be sampled, and dropout: "Always(dropout=0.1)", "Daily"."""
    policy: Any = "AllReplies"
    """End of a round on the simulated clock: "AllReplies", "Deadline(60)", "OverSelection(1.3)"."""
    wire: bool = False
    """True: clients of the simulated clock move the modelled bytes of Flower's transport, not packets alone."""
    callbacks: tuple[Any, ...] = ()
    """Callbacks that get the run's rows, such as "TensorBoard" or "CSV(path='x.csv')"."""

    def __new__(cls, *args: Any, **given: Any) -> Self:
        refuse_old_keys(given)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for field, kind in LISTS.items():
            object.__setattr__(self, field, make_list(kind, getattr(self, field)))
        for field, kind in COMPONENTS.items():
            object.__setattr__(self, field, make(kind, getattr(self, field)))
        hints = get_type_hints(Experiment)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.integer | np.floating):  # such as a seed of np.arange(3)
                object.__setattr__(self, field.name, value.item())
            check_type(field.name, getattr(self, field.name), hints[field.name])
        for field, (least, most) in BOUNDS.items():
            check_int(field, getattr(self, field), least, most)
        if not 0 <= self.valid_fraction < 1:
            raise ValueError(
                f"valid_fraction is a part of the training examples in [0, 1), got {shown(self.valid_fraction)}; "
                "0.2 holds out a fifth."
            )
        if self.patience and not self.valid_fraction:
            raise ValueError(
                f"patience={self.patience} stops by the score on validation parts, and valid_fraction=0 has none; set "
                "valid_fraction=0.2, or patience=0."
            )
        check_text("name", self.name, 200)
        if isinstance(self.cohort, int):
            check_int("cohort", self.cohort)
        for field in ("max_weight", "max_norm"):
            if not 0 <= getattr(self, field) < float("inf"):
                value = shown(getattr(self, field))
                raise ValueError(f"{field} is a finite number of at least 0 (0: no bound), got {value}.")
        cohort_size(self.cohort, sys.maxsize)
        if self.metrics not in METRICS:
            raise ValueError(f"metrics is one of {', '.join(METRICS)}, got {shown(self.metrics)}.")
        check_down_codec(self.down_codec)
        check_lossless(self.algorithm, self.up_codec)
        check_lossy_rounds(self.algorithm, self.timing)

    @property
    def timing(self) -> Timing:
        """The simulated clock; ``UNTIMED`` for none."""
        return Timing(self.link, self.devices, self.availability, self.policy, self.wire)

    def make_engine(self, device: str = "") -> Engine:
        """A new engine, on a torch device: by default the runtime's, or where that has none, the engine's own."""
        return self.engine.on(device or self.runtime.device or self.engine.device)

    def load(self) -> Federation:
        """The data: on a node, its clients are those that it may host.

        Raises:
            ValueError: data that breaks the rules of a federation.
        """
        found = self.data.load(self.seed)
        if not isinstance(found, Federation):
            raise ValueError(f"{shown(self.data)}: load(seed) gives a Federation, got {shown(found)}; return one.")
        return found

    def make_plan(self, data: Federation | Schema) -> Plan:
        """Return the plan, which server and clients derive alike; for the same schema, the same plan."""
        schema = data.schema if isinstance(data, Federation) else data
        made = self.__dict__.get(MADE)
        if made is None or made[0] is not schema:
            made = self.__dict__[MADE] = schema, self._make_plan(schema)
        return made[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without the plan, which each process derives."""
        return {name: value for name, value in self.__dict__.items() if name != MADE}

    def _make_plan(self, schema: Schema) -> Plan:
        return make_plan(
            schema,
            algorithm=self.algorithm,
            model=self.model,
            up_codec=self.up_codec,
            down_codec=self.down_codec,
            batch_size=self.batch_size or None,
            seed=self.seed,
            valid_fraction=self.valid_fraction,
            metrics=self.metrics,
            train_loss=self.train_loss,
            train_metrics=self.train_metrics,
            augment=self.augment,
            devices=self.devices,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tables: what ``experiment.toml`` holds. ``from_dict`` reads it back."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if hasattr(UNTIMED, field.name) and value == getattr(UNTIMED, field.name):
                continue  # an experiment without a clock is what it was before there were clocks
            if field.name in COMPONENTS:
                values[field.name] = describe(COMPONENTS[field.name], value)
            elif field.name in LISTS:
                tables = (describe(LISTS[field.name], one) for one in value)
                # One that was given as an object cannot be made again, which matters where results depend on it.
                kept = field.name not in EXECUTION_FIELDS
                values[field.name] = [table for table in tables if kept or "passed_as_object" not in table]
            else:
                values[field.name] = value
        # TOML wants tables after plain values.
        return dict(sorted(values.items(), key=lambda item: isinstance(item[1], dict)))

    @property
    def result_settings(self) -> dict[str, Any]:
        """The part of ``to_dict`` on which results depend: equal for runs that must end in the same bits."""
        values = {key: value for key, value in self.to_dict().items() if key not in EXECUTION_FIELDS}
        return {**values, "cohort": repr(self.cohort)}  # 1 client is not 1.0 of them, though they compare equal

    @property
    def label(self) -> str:
        """Short text for tables."""
        codecs = f"{self.up_codec!r} up, {self.down_codec!r} down"
        return f"{self.algorithm!r} / {repr(self.up_codec) if self.up_codec == self.down_codec else codecs}"


def from_dict(values: Mapping[str, Any], where: str = "experiment", allowed: Allowed = NOTHING) -> Experiment:
    """An experiment from plain values.

    Args:
        values: of the experiment's keys.
        where: begins the message of an error.
        allowed: modules that may be imported for components; fedmtl's alone by default.

    Raises:
        ValueError: an unknown key, a module that is not allowed, or what ``Experiment`` refuses.
    """
    fields = [field.name for field in dataclasses.fields(Experiment)]
    try:
        refuse_old_keys(values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    for key in values:
        if key not in fields:
            raise ValueError(
                f"{where}: unknown key {shown(key)}; the keys are {', '.join(fields)}.{did_you_mean(key, fields)}"
            )
    try:
        made = {key: make(kind, values[key], allowed) for key, kind in COMPONENTS.items() if key in values}
        made |= {key: make_list(kind, values[key], allowed) for key, kind in LISTS.items() if key in values}
        return Experiment(**{**values, **made})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
