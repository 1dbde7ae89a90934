"""Transformer encoder for texts."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from fedmtl.core.bounds import check_parameters
from fedmtl.models.heads import linear_head, places_head
from fedmtl.models.sizes import check_dropout, check_fields, check_positive
from fedmtl.models.tokens import check_vocabulary, masked_mean, text_length, token_mask

_HIDDEN = 1e9
"""Subtracted from the scores of padding: their share of a softmax is 0, and a text of padding alone has no NaN."""


@dataclass(frozen=True)
class TransformerEncoder:
    """For texts [T] of tokens: embeddings with learnt positions, layers of attention, and the mean over the tokens.

    Layer normalisation comes before each part (Xiong et al., ICML 2020, arXiv:2002.04745):

        x <- x + out(attention(qkv(norm(x)))),    x <- x + down(GELU(up(norm(x))))

    Token 0 is padding, which no token attends to, and which the mean leaves out; put it at the end.
    """

    vocabulary: int = 10_000
    """Tokens are below it: the largest plus one."""
    width: int = 64
    """Numbers of an embedding, a multiple of ``heads``; the number of features."""
    heads: int = 4
    """Heads of attention."""
    layers: int = 2
    hidden: int = 128
    """Numbers between ``up`` and ``down``."""
    dropout: float = 0.0
    """Probability that a number of a layer's update is 0 in training."""
    per_token: bool = False
    """Features for each token, [width, T], for tasks that label tokens; else their mean, [width]."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_vocabulary("TransformerEncoder", self.vocabulary)
        check_positive("TransformerEncoder", width=self.width, heads=self.heads, layers=self.layers, hidden=self.hidden)
        check_dropout("TransformerEncoder", self.dropout)
        if self.width % self.heads:
            raise ValueError(
                f"TransformerEncoder: width is a multiple of heads, got width={self.width}, heads={self.heads}; take "
                f"width={-(-self.width // self.heads) * self.heads}."
            )

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        length = text_length("TransformerEncoder", input_shape)
        layer = 4 * self.width * (self.width + 1) + 2 * self.hidden * self.width + self.hidden + 5 * self.width
        check_parameters(self, (self.vocabulary + length + 2) * self.width + self.layers * layer)
        return _Encoder(self, length)

    def head(self, features: Any, outputs: int | tuple[int, ...]) -> nn.Module:
        if isinstance(features, tuple):
            return places_head(self, features, outputs, padded=True)
        return linear_head(self, features, outputs)


class _Encoder(nn.Module):
    def __init__(self, model: TransformerEncoder, length: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(model.vocabulary, model.width)
        self.positions = nn.Embedding(length, model.width)
        nn.init.normal_(self.embed.weight, std=model.width**-0.5)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.dropout = nn.Dropout(model.dropout)
        self.layers = nn.ModuleList(_Layer(model) for _ in range(model.layers))
        self.norm = nn.LayerNorm(model.width)
        self.per_token = model.per_token

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embed(x)
        mask = token_mask(x, embedded)
        scores = (mask[:, None, None, :] - 1) * _HIDDEN
        found = self.dropout(embedded + self.positions.weight)
        for layer in self.layers:
            found = layer(found, scores)
        found = self.norm(found)
        return (found * mask[..., None]).transpose(1, 2) if self.per_token else masked_mean(found, mask)


class _Layer(nn.Module):
    def __init__(self, model: TransformerEncoder) -> None:
        super().__init__()
        self.heads = model.heads
        self.norm_attention, self.norm_hidden = nn.LayerNorm(model.width), nn.LayerNorm(model.width)
        self.qkv, self.out = nn.Linear(model.width, 3 * model.width), nn.Linear(model.width, model.width)
        self.up, self.down = nn.Linear(model.width, model.hidden), nn.Linear(model.hidden, model.width)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm_attention(x)).unflatten(2, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        mixed = functional.scaled_dot_product_attention(query, key, value, scores)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.down(functional.gelu(self.up(self.norm_hidden(x)))))
