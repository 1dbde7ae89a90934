"""Traits of a codec: what the rest of fedmtl may rely on, declared once, by the class."""

from dataclasses import dataclass, field


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
    """For differences between models only, never for a model itself, so it is refused for the downlink."""
    error_compensated: bool = False
    """The part that is lost of one vector is added to the next ones, so sums over rounds arrive whole."""
    max_bytes: bool = field(default=False, metadata={"methods": ("max_bytes",)})
    """``max_bytes(size) -> int``: the most bytes that ``encode`` makes of a vector; without it, 8 a number and 4096."""
    codes_rows: bool = field(default=False, metadata={"methods": ("encode_rows", "decode_rows")})
    """The vectors of a cohort are coded in one pass, with the same bytes and numbers as row by row; for codecs without
    a state:

        encode_rows(x: float32 [K, size], rng_for: row -> Generator) -> uint8 [K, bytes]
        decode_rows(data: uint8 [K, bytes], size) -> float32 [K, size]

    They may share memory with their arguments, raise ValueError when one of the rows would, and leave it to the caller
    to look for NaN and infinity, before the one and after the other."""
