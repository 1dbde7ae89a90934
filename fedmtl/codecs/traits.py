"""Traits of a codec: what the rest of fedmtl may rely on, declared once, by the class."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fedmtl.core.traits import known_traits


@known_traits
@dataclass(frozen=True)
class CodecTraits:
    """Capabilities of a codec. The default declares none.

    >>> CodecTraits(unbiased=True).lossless
    False
    """

    unbiased: bool = False
    """The mean of ``decode(encode(x))`` over generators is x. The contract test measures it."""
    lossless: bool = False
    """``decode(encode(x))`` is x, bit for bit. Values are then sent, and no differences."""
    delta_only: bool = False
    """For differences between models only, never for a model itself: a broadcast is then coded as changes of the model
    that clients hold, see ``protocol/reference.py``."""
    contractive: bool = False
    """‖x - decode(encode(x))‖ ≤ ‖x‖ for every x: what is decoded is nowhere worse than nothing. The contract test
    measures it."""
    error_compensated: bool = False
    """The part that is lost of one vector is added to the next ones, so sums over rounds arrive whole."""
    keeps_errors: bool = False
    """The error of one vector is added to the next, so a vector that is sent may be longer than one that came in."""
    receiver_memory: bool = field(default=False, metadata={"methods": ("receive",)})
    """The receiver keeps a memory of each sender, float32 [size], first 0, and the bytes are a change of it:

        receive(data: bytes, memory) -> x', the next memory

    with x' float32 [size], the arguments left as they were, and ValueError as of ``decode``. ``decode`` gives x' of the
    first vector. For uploads: ``protocol/memories.py`` says how server and client keep the same."""
    bounds_norm: bool = False
    """A part of the codec bounds the norm of what is sent."""
    adds_noise: bool = False
    """Noise that must stay in what is sent, as for differential privacy: an error memory would take it back."""
    spreads: bool = False
    """A rotation or a hash: the error of one number is spread over others, also over those that are 0."""
    fixed_bytes: bool = field(default=False, metadata={"methods": ("num_bytes",)})
    """``num_bytes(size) -> int``: the bytes of every vector of that size. A codec of fedmtl declares this, or
    ``typical_bytes`` and ``max_bytes``; the contract test measures them (``stated.py``)."""
    by_layout: bool = field(default=False, metadata={"methods": ("bind",)})
    """Parameters are coded by their shapes or names: ``bind(layout) -> Codec``, the codec of vectors of this layout."""
    by_name: bool = field(default=False, metadata={"methods": ("unmatched",)})
    """The codec is one by layout that has globs: ``unmatched(layout) -> set`` of those that match no name."""
    server_part: bool = field(default=False, metadata={"methods": ("on_sum",)})
    """The server's part, on the sum of the uploads, see ``TransformTraits``."""
    max_bytes: bool = field(default=False, metadata={"methods": ("max_bytes",)})
    """``max_bytes(size) -> int``: the most bytes that ``encode`` makes of a vector; without it, 8 a number and 4096."""
    typical_bytes: bool = field(default=False, metadata={"methods": ("typical_bytes",)})
    """``typical_bytes(size) -> float``: the mean bytes of Gaussian vectors, of a codec whose bytes depend on the
    numbers."""
    ideal_bits: bool = field(default=False, metadata={"methods": ("ideal_bits",)})
    """``ideal_bits(data: uint8 [K, bytes], size) -> float64 [K]``: how many bits the symbols of K packets of one length
    hold (``entropy.py``), and ValueError for bytes whose length or head ``decode`` refuses. Of a codec without it, each
    byte counts as 8 bits: no model of its entropy is claimed."""
    codes_rows: bool = field(default=False, metadata={"methods": ("encode_rows", "decode_rows")})
    """The vectors of a cohort are coded in one pass, with the same bytes and numbers as row by row:

        encode_rows(x: float32 [K, size], states, rng_for: row -> Generator) -> uint8 [K, bytes], the next states
        decode_rows(data: uint8 [K, bytes], size) -> float32 [K, size]

    States are a tree of arrays [K, …], None of a codec without one. Both may share memory with their arguments, raise
    ValueError when one of the rows would, and leave it to the caller to look for NaN and infinity, before the one and
    after the other."""


def around(inner: CodecTraits, **more: bool) -> CodecTraits:
    """Traits of a codec with another inside that makes its bytes, without what that one promises of its errors.

    >>> around(CodecTraits(unbiased=True, spreads=True), keeps_errors=True) == CodecTraits(
    ...     keeps_errors=True, spreads=True
    ... )
    True
    """
    return CodecTraits(
        bounds_norm=inner.bounds_norm,
        spreads=inner.spreads,
        fixed_bytes=inner.fixed_bytes,
        by_layout=inner.by_layout,
        by_name=inner.by_name,
        max_bytes=inner.max_bytes,
        typical_bytes=inner.typical_bytes,
        ideal_bits=inner.ideal_bits,
        codes_rows=inner.codes_rows,
        **more,
    )


def all_of(each: Sequence[CodecTraits], **more: bool) -> CodecTraits:
    """Traits of a codec whose parts have these: what all promise, what one demands, and what ``more`` declares.

    >>> all_of([CodecTraits(unbiased=True), CodecTraits(unbiased=True, lossless=True)]) == CodecTraits(unbiased=True)
    True
    """
    arrives = all(traits.lossless or traits.error_compensated for traits in each)
    return CodecTraits(
        unbiased=all(traits.unbiased for traits in each),
        lossless=all(traits.lossless for traits in each),
        contractive=all(traits.contractive for traits in each),
        delta_only=any(traits.delta_only for traits in each),
        error_compensated=arrives and any(traits.error_compensated for traits in each),
        keeps_errors=any(traits.keeps_errors for traits in each),
        receiver_memory=any(traits.receiver_memory for traits in each),
        bounds_norm=any(traits.bounds_norm for traits in each),
        adds_noise=any(traits.adds_noise for traits in each),
        spreads=any(traits.spreads for traits in each),
        **more,
    )
