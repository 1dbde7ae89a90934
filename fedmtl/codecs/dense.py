"""Dense: the numbers as they are."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.base import check_vector
from fedmtl.codecs.checks import check_decoded, check_length
from fedmtl.codecs.layout import Layout
from fedmtl.codecs.traits import CodecTraits


@dataclass(frozen=True)
class Dense:
    """Little-endian float32. Bytes: 4n. Error: none, bit for bit."""

    traits = CodecTraits(unbiased=True, lossless=True, contractive=True, codes_rows=True, fixed_bytes=True)

    def init(self, layout: Layout | int) -> None:
        return None

    def num_bytes(self, size: int) -> int:
        return 4 * size

    def encode(self, x: NDArray[np.float32], state: None, rng: np.random.Generator) -> tuple[bytes, None]:
        check_vector(self, x)
        return x.astype("<f4", copy=False).tobytes(), None

    def encode_rows(
        self, x: NDArray[np.float32], states: None, rng_for: Callable[[int], np.random.Generator]
    ) -> tuple[NDArray[np.uint8], None]:
        return x.astype("<f4", copy=False).view(np.uint8), None

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        x = self.decode_rows(np.frombuffer(data, np.uint8)[None], size)[0].copy()
        check_decoded(self, x)
        return x

    def decode_rows(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        check_length(self, data.shape[1], size, self.num_bytes(size))
        return data.view("<f4").astype(np.float32, copy=False)
