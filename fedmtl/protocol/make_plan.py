"""The plan of an experiment from the schema of its data."""

from collections.abc import Sequence
from typing import Any

from fedmtl.algorithms.base import Algorithm
from fedmtl.augmentations.base import Augmentation
from fedmtl.codecs.base import Codec
from fedmtl.data.base import Schema
from fedmtl.data.validation import example_counts
from fedmtl.models.base import Model
from fedmtl.models.share import groups_of
from fedmtl.models.wrappers import hashed_words
from fedmtl.protocol.plan import METRICS, Plan
from fedmtl.protocol.plan_digest import recipe_digest
from fedmtl.protocol.widths import widths_of
from fedmtl.timing.devices.base import Devices
from fedmtl.timing.timing import UNTIMED


class TokensRefused(ValueError):
    """A model that would take tokens for quantities; of a table, the column is named."""

    def __init__(self, model: Any, tokens: int, column: str = "") -> None:
        of = f" of the column {column!r}" if column else ""
        super().__init__(
            f"{model!r} takes numbers, but inputs are tokens{of}, whose numbers are no quantities; take a model of "
            f"texts, such as BagOfEmbeddings(vocabulary={tokens})."
        )


def make_plan(
    schema: Schema,
    *,
    algorithm: Algorithm[Any, Any],
    model: Model,
    up_codec: Codec[Any],
    down_codec: Codec[Any],
    batch_size: int | None,
    seed: int,
    valid_fraction: float = 0.0,
    metrics: str = METRICS[0],
    train_loss: bool = False,
    train_metrics: bool = False,
    augment: Sequence[Augmentation] = (),
    devices: Devices = UNTIMED.devices,
) -> Plan:
    """Make the plan of an experiment whose data has this schema.

    Raises:
        ValueError: what ``Plan`` refuses, a model that takes tokens for quantities, or one that knows words by another
            hash.
    """
    counts = example_counts(schema.examples, valid_fraction)
    plan = Plan(
        algorithm=algorithm,
        model=model,
        up_codec=up_codec,
        down_codec=down_codec,
        tasks=schema.tasks,
        input_shape=schema.input_shape,
        integer_inputs=schema.integer_inputs,
        batch_size=batch_size,
        seed=seed,
        metrics=metrics,
        train_loss=train_loss,
        train_metrics=train_metrics,
        owners=schema.owners,
        longest=None if counts is None or not len(counts) else int(counts[:, 0].max()),
        valid_fraction=valid_fraction,
        forms=schema.forms,
        recipe=recipe_digest(schema.recipe),
        augment=augment,
        groups=groups_of(model, schema.owners, schema.client_names),
        widths=widths_of(algorithm, schema, devices, seed) if algorithm.traits.by_width else None,
    )
    if schema.tokens and not plan.integer_inputs:
        raise TokensRefused(model, schema.tokens)
    known = hashed_words(model)
    if known and schema.tokens not in (0, known):
        raise ValueError(
            f"{model!r} knows words by a hash over {known} tokens, but the data's tokens are {schema.tokens}; make the "
            f"data with vocabulary={known}, or arrays of words by that hash with tokens={known}."
        )
    return plan
