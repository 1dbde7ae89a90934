"""Means of embeddings: the smallest trunk for texts."""

from dataclasses import dataclass

from torch import Tensor, nn

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import linear_head
from fedmtl.models.sizes import check_fields, check_positive
from fedmtl.models.tokens import check_vocabulary, masked_mean, text_length, token_mask


@dataclass(frozen=True)
class BagOfEmbeddings:
    """For texts [T] of tokens: the mean of their embeddings, and a hidden layer if one is given.

    Token 0 is padding and does not count; the mean of a text without a token is 0. Joulin et al., EACL 2017,
    arXiv:1607.01759.
    """

    vocabulary: int = 10_000
    """Tokens are below it: the largest plus one."""
    width: int = 64
    """Numbers of an embedding."""
    hidden: int = 0
    """Features of a layer Linear-ReLU on the mean; 0: the mean itself."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_vocabulary("BagOfEmbeddings", self.vocabulary)
        check_positive("BagOfEmbeddings", width=self.width)
        if self.hidden < 0:
            raise ValueError(f"BagOfEmbeddings: hidden is a size, or 0 for no hidden layer, got {self.hidden}.")

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        text_length("BagOfEmbeddings", input_shape)
        check_parameters(self, self.vocabulary * self.width + (self.width + 1) * self.hidden)
        return _Bag(self)

    def head(self, features: int, outputs: int | tuple[int, ...]) -> nn.Module:
        return linear_head(self, features, outputs)


class _Bag(nn.Module):
    def __init__(self, model: BagOfEmbeddings) -> None:
        super().__init__()
        self.embed = nn.Embedding(model.vocabulary, model.width)
        layers = [nn.Linear(model.width, model.hidden), nn.ReLU()] if model.hidden else []
        self.hidden = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embed(x)
        return self.hidden(masked_mean(embedded, token_mask(x, embedded)))
