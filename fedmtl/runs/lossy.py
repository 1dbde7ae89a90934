"""Experiments that would lose what their algorithm cannot do without: a part of an upload, or a whole one."""

from typing import Any

from fedmtl.core.traits import part
from fedmtl.timing.timing import Timing


def check_lossless(algorithm: Any, up_codec: Any) -> None:
    """Refuse a codec that loses what the algorithm, or one that it wraps, cannot do without.

    Raises:
        ValueError: it names both, the reason and the way out.
    """
    arrives = up_codec.traits.lossless or up_codec.traits.error_compensated
    while algorithm is not None and not arrives:
        if reason := algorithm.traits.needs_every_upload:
            raise ValueError(
                f"up_codec: {up_codec!r} loses a part of each upload for good, but {algorithm!r} needs all of them: "
                f"{reason}; use Dense(), or ErrorFeedback(codec=TopK(keep=0.1)), whose losses arrive in later rounds."
            )
        algorithm = part(algorithm, "algorithm")


def check_down_codec(codec: Any) -> None:
    """Refuse a codec that has no place on broadcasts.

    Raises:
        ValueError: it names the reason and the way out.
    """
    traits = codec.traits
    if traits.receiver_memory:
        raise ValueError(
            f"down_codec: {codec!r} keeps a memory on both sides, which broadcasts have with every codec for "
            "differences (EF21-P): the model that clients hold; write the codec inside it, such as STC(0.05), as it is."
        )
    if traits.keeps_errors:
        raise ValueError(
            f"down_codec: {codec!r} keeps a memory of errors, which the server has with every codec for differences: "
            "what a broadcast leaves out is in the next one; write the codec inside it, such as STC(0.05), as it is."
        )
    if traits.bounds_norm or traits.adds_noise or traits.server_part:
        raise ValueError(
            f"down_codec: {codec!r} clips, or adds noise to, what clients upload; broadcasts take a codec alone, such "
            "as STC(0.05), FP16 or Int8: put the transform on the uplink as up_codec."
        )


def check_lossy_rounds(algorithm: Any, timing: Timing) -> None:
    """Refuse a clock on which replies are late or lost, for an algorithm that cannot do without one, and asynchronous
    rounds, for one whose updates are more than differences from one model.

    Raises:
        ValueError: it names both, the reason and the way out.
    """
    inner = None if timing.needs_all else algorithm
    while inner is not None:
        reason = inner.traits.needs_every_upload or ("it trains on all data" if inner.traits.centralized else "")
        if reason:
            raise ValueError(
                f"{algorithm!r} needs the replies of all clients: {reason}; but policy = {timing.policy!r} and "
                f"availability = {timing.availability!r} may lose some. Use AllReplies() and Always()."
            )
        inner = part(inner, "algorithm")
    traits = algorithm.traits
    extra = traits.sends is None or traits.sends.up_extra
    one = traits.mean_aggregated and traits.uniform_broadcast and not traits.by_round
    if timing.policy.asynchronous and (extra or not one):
        raise ValueError(
            f"policy = {timing.policy!r} adds up differences from one model of the server, which uploads of "
            f"{algorithm!r} are not; use a method such as FedAvg or FedPer, or another policy."
        )
