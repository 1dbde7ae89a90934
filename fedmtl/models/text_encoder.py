"""A small text encoder that comes with fedmtl, trained on reviews of films."""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from fedmtl.models.load_weights import freeze, load_weights
from fedmtl.models.tokens import text_length
from fedmtl.models.transformer_encoder import TransformerEncoder
from fedmtl.models.weights_file import digest_of, read_weights

FILE = "text_encoder.safetensors"
SHA256 = "54920023229355bebd7c8c41e8e2c978ae0d1b3b6dd18a6c3a65188ab00323dc"
"""Checksum of the file: a checkout, a wheel and a device have the same one."""

SHAPE = TransformerEncoder(vocabulary=16384, width=64, heads=4, layers=2, hidden=128)
LONGEST = 256
"""Tokens of a text at most: the file has as many positions."""


@dataclass(frozen=True)
class TextEncoder:
    """For texts [T] of hashed words: the encoder that comes with fedmtl, a small ``TransformerEncoder`` with weights.

    It was trained on reviews of films (``text_encoder.md`` is its card), and knows the words by the hash of
    ``data/tokens.py`` over 16,384 tokens: data are made with ``vocabulary=16384``, such as
    ``ProductReviews(vocabulary=16384)``, of at most 256 tokens a text. ``TextEncoder(freeze=("*",))`` trains heads
    alone, ``freeze=("embed.*",)`` all but the embeddings, which are most of its numbers.

    Raises:
        ValueError: another vocabulary, or a probability that is none; when it is built, texts that are too long, or a
            glob of ``freeze`` without a match.
    """

    freeze: tuple[str, ...] = ()
    """Globs over the trunk's names that stay as they are: ``embed.*``, ``positions.*``, ``layers.0.*``, ``norm.*``."""
    dropout: float = 0.0
    """Probability that a number of a layer's update is 0 in training."""
    per_token: bool = False
    """Features for each token, [64, T], for tasks that label tokens; else their mean, [64]."""
    vocabulary: int = 16384
    """Tokens of the data: 16384, the only number that the encoder has."""

    def __post_init__(self) -> None:
        if self.vocabulary != SHAPE.vocabulary:
            raise ValueError(
                f"TextEncoder knows words by a hash over {SHAPE.vocabulary} tokens, got vocabulary={self.vocabulary}; "
                f"make the data with vocabulary={SHAPE.vocabulary}, or train a TransformerEncoder of your own."
            )
        given: Any = self.freeze
        if not isinstance(given, (list, tuple)) or not all(isinstance(glob, str) and glob for glob in given):
            raise ValueError(f'TextEncoder: freeze is a list of globs over names, ("embed.*",), got {given!r}.')
        object.__setattr__(self, "freeze", tuple(given))
        self._recipe()

    def _recipe(self) -> TransformerEncoder:
        """The same model without weights."""
        of = SHAPE
        return TransformerEncoder(of.vocabulary, of.width, of.heads, of.layers, of.hidden, self.dropout, self.per_token)

    @property
    def hashed_words(self) -> int:
        return self.vocabulary

    def weights_digest(self) -> str:
        return SHA256

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        length = text_length("TextEncoder", input_shape)
        if length > LONGEST:
            raise ValueError(
                f"TextEncoder takes texts of at most {LONGEST} tokens, got {length}; make the data with "
                f"length={LONGEST}."
            )
        weights = read_weights(str(weights_path()), SHA256)
        weights["positions.weight"] = weights["positions.weight"][:length]
        trunk = self._recipe().trunk(input_shape)
        load_weights("TextEncoder", trunk, weights)
        freeze("TextEncoder", trunk, self.freeze)
        return trunk

    def head(self, features: Any, outputs: Any) -> nn.Module:
        return self._recipe().head(features, outputs)


@cache
def weights_path() -> Path:
    """The encoder's file: beside this one, or in an installed fedmtl, as bundles of a Flower app carry source alone.

    Raises:
        FileNotFoundError: neither has it.
    """
    places = [Path(__file__).parent, *(Path(entry) / "fedmtl" / "models" for entry in sys.path)]
    for place in places:
        path = place / FILE
        if path.is_file() and (place == places[0] or digest_of(str(path)) == SHA256):
            return path
    raise FileNotFoundError(
        f"The text encoder's file {FILE} is not beside {__file__!r}, nor in an installed fedmtl: install the wheel on "
        "this machine, pip install fedmtl, which has it."
    )
