"""Convolutional trunk for texts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import linear_head
from fedmtl.models.sizes import check_dropout, check_fields, check_positive
from fedmtl.models.tokens import check_vocabulary, text_length, token_mask


@dataclass(frozen=True)
class TextCNN:
    """For texts [T] of tokens: convolutions over 3, 4 and 5 embeddings, ReLU, and the maximum of each channel.

    A window is centred on each token, and sees zeros beyond the ends of the text; token 0 is padding, which is zeros
    and the centre of no window. Kim, EMNLP 2014, doi:10.3115/v1/D14-1181.
    """

    vocabulary: int = 10_000
    """Tokens are below it: the largest plus one."""
    width: int = 64
    """Numbers of an embedding."""
    kernels: tuple[int, ...] = (3, 4, 5)
    """Tokens that a convolution sees at once, of each convolution."""
    channels: int = 32
    """Channels of each convolution, so there are channels times kernels features."""
    dropout: float = 0.0
    """Probability that a feature is 0 in training."""

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "kernels", tuple(self.kernels))
        check_vocabulary("TextCNN", self.vocabulary)
        check_positive("TextCNN", width=self.width, kernels=self.kernels, channels=self.channels)
        check_dropout("TextCNN", self.dropout)

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        length = text_length("TextCNN", input_shape)
        if length < max(self.kernels):
            raise ValueError(
                f"TextCNN has a kernel of {max(self.kernels)} tokens, which is longer than texts of {length}; give "
                f"kernels of at most {length}, or pad texts with 0 to at least {max(self.kernels)} tokens."
            )
        convolutions = sum((self.width * kernel + 1) * self.channels for kernel in self.kernels)
        check_parameters(self, self.vocabulary * self.width + convolutions)
        return _TextCNN(self)

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        return linear_head(self, features, outputs)


class _TextCNN(nn.Module):
    def __init__(self, model: TextCNN) -> None:
        super().__init__()
        self.embed = nn.Embedding(model.vocabulary, model.width)
        self.convolutions = nn.ModuleList(nn.Conv1d(model.width, model.channels, kernel) for kernel in model.kernels)
        self.kernels = model.kernels
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embed(x)
        mask = token_mask(x, embedded)
        signal = (embedded * mask[..., None]).transpose(1, 2)
        found = []
        for kernel, convolution in zip(self.kernels, self.convolutions, strict=True):
            windows = functional.relu(convolution(functional.pad(signal, ((kernel - 1) // 2, kernel // 2))))
            found.append((windows * mask[:, None]).amax(2))  # ReLU gives no less than 0, so the mask adds no maximum
        return self.dropout(torch.cat(found, 1))
