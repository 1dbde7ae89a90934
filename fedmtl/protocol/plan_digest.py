"""The digest of a plan, by which both sides know that they run one experiment."""

from dataclasses import replace
from hashlib import blake2b
from typing import Any

from fedmtl.core.trees import sha256
from fedmtl.data.recipe import NumberColumn, TableRecipe
from fedmtl.models.wrappers import weights_digests


def plan_digest(plan: Any) -> bytes:
    """8 bytes of a ``Plan`` that differ when the other side runs another experiment, or makes other inputs."""
    picture = (
        [(name, tuple(value.shape)) for name, value in plan.initial.items()],
        repr(plan.tasks),
        repr(plan.algorithm),
        repr(plan.up_codec),
        repr(plan.down_codec),
        plan.batch_size,
        plan.seed,
        *([] if plan.metrics == "last" else [plan.metrics]),
        *([sha256(frozen)] if (frozen := dict(plan.module.named_buffers())) else []),
        *([f"valid_fraction={plan.valid_fraction}"] if plan.valid_fraction else []),
        *[*sorted(plan.sent_metrics), *plan.module.forms, *weights_digests(plan.model)],
        *([f"recipe={plan.recipe}"] if plan.recipe else []),
        *([f"augment={plan.augment!r}"] if plan.augment else []),
        *([f"widths by {plan.widths.also}"] if plan.widths is not None and plan.widths.also else []),
    )
    return blake2b(repr(picture).encode(), digest_size=8).digest()


def recipe_digest(recipe: TableRecipe | None) -> str:
    """A text that differs where rows become inputs in another way, such as by another vocabulary; empty for none.

    Statistics that each client takes of its own rows are no part of it.
    """
    if recipe is None:
        return ""
    columns = [replace(one, by_client=()) if isinstance(one, NumberColumn) else one for one in recipe.columns]
    text = replace(recipe, columns=tuple(columns)).to_json()
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
