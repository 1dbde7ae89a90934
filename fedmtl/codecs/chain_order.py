"""The order of a chain: transforms, then one codec, and no bound that a later part breaks."""

from collections.abc import Sequence
from typing import Any

from fedmtl.codecs.traits import CodecTraits
from fedmtl.codecs.transforms.base import TransformTraits

EXAMPLE = 'Chain(ClipNorm(1.0), Int8()), or in a preset ["ClipNorm(1.0)", "Int8()"]'


def is_codec(part: Any) -> bool:
    """Return True for a codec, False for a transform.

    Raises:
        ValueError: it is neither.
    """
    traits = None if isinstance(part, type) or "traits" not in dir(part) else part.traits
    if isinstance(traits, CodecTraits):
        return True
    if isinstance(traits, TransformTraits):
        return False
    raise ValueError(f"Expected a codec, or a transform before one, got {part!r}; write {EXAMPLE}.")


def check_order(parts: Sequence[Any]) -> None:
    """Refuse a chain that cannot work, or in which a bound is broken.

    Raises:
        ValueError: no part, a part after the codec, noise before the norm is bounded, or a memory of errors behind a
            bound, where no noise is between.
    """
    if not parts:
        raise ValueError(f"A chain has at least one part, got none; write {EXAMPLE}, or Dense() for plain numbers.")
    codecs = [part for part in parts if is_codec(part)]
    if codecs and codecs[0] is not parts[-1]:
        last = codecs[0]
        after = parts[[part is last for part in parts].index(True) + 1]
        raise ValueError(
            f"A chain ends in its codec, but {after!r} follows {last!r}.{_why(last, after)}: move {last!r} to the end."
        )
    noise = None
    for part in parts:
        if part.traits.bounds_norm and noise is not None:
            raise ValueError(
                f"{noise!r} comes before {part!r}, so the norm of what it adds noise to has no bound, and the noise "
                "hides nothing of a known size; put the clipping first."
            )
        if part.traits.adds_noise and not part.traits.server_part:  # the server's noise is after all parts
            noise = part
    _check_memory(parts)


def _why(codec: Any, after: Any) -> str:
    """The reason that a part cannot stand behind a codec."""
    if codec.traits.keeps_errors and after.traits.bounds_norm:
        return " A memory that is added behind a bound on the norm breaks it: what is clipped stands before the codec"
    if is_codec(after) and after.traits.spreads:
        return (
            f" {after!r} rotates, which makes numbers of the zeros that {codec!r} leaves, and sends them all; a sparse "
            "code of few bits is STC(keep=0.05). A codec makes bytes, which no other part can take"
        )
    return " A codec makes bytes, which no other part can take"


def _check_memory(parts: Sequence[Any]) -> None:
    """Refuse a memory of errors that makes what is sent longer than the bound before it."""
    bound = None
    for part in parts:
        if is_codec(part) and part.traits.keeps_errors and bound is not None:
            raise ValueError(
                f"{part!r} adds to an update what it did not send of earlier ones, so what is sent after {bound!r} may "
                "be longer than its bound; clip inside it, as in ErrorFeedback(Chain(ClipNorm(1.0), TopK(0.05))), "
                "put GaussianNoise between them, or use a codec without a memory, such as Int8()."
            )
        if part.traits.bounds_norm:
            bound = part
        if part.traits.adds_noise and not part.traits.server_part:
            bound = None  # what follows noise is post-processing
