"""Texts as tokens, whole numbers [B, T] of which 0 is padding, and means that leave padding out."""

from torch import Tensor

PADDING = 0
"""The token that stands for no word. All models of texts give a text the same features with more of it at the end."""

_OTHERS = {
    2: "TemporalCNN or GRU() for signals (channels, samples)",
    3: "CNN or ResNet for images (channels, height, width)",
}


def check_vocabulary(name: str, vocabulary: int) -> None:
    """Refuse a vocabulary without a token beside padding.

    Raises:
        ValueError: it names the value and the rule.
    """
    if vocabulary < 2:
        raise ValueError(
            f"{name} needs a vocabulary of at least 2 tokens, padding (0) and one more, got vocabulary={vocabulary}; "
            "it is the largest token plus one."
        )


def text_length(name: str, input_shape: tuple[int, ...]) -> int:
    """Return T of texts [T].

    Raises:
        ValueError: inputs that are no texts.
    """
    if len(input_shape) != 1:
        way = _OTHERS.get(len(input_shape), "MLP, which takes any shape")
        raise ValueError(f"{name} takes texts of shape (tokens,), whole numbers, got {input_shape}; try {way}.")
    return input_shape[0]


def token_mask(x: Tensor, like: Tensor) -> Tensor:
    """Return 1 for a token and 0 for padding, [B, T], in the type of ``like``."""
    return (x != PADDING).to(like.dtype)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return means over the places of mask 1, 0 where there is none.

    Args:
        values: [B, T, F].
        mask: [B, T].
    """
    return (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
