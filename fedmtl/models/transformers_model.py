"""Text encoders of transformers, from a folder or by name."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fedmtl.core.bounds import check_text
from fedmtl.models.heads import linear_head, places_head
from fedmtl.models.optional_package import optional_package
from fedmtl.models.tokens import masked_mean, text_length, token_mask

_HIDDEN = 1e9
"""Subtracted from the scores of padding."""


@dataclass(frozen=True)
class Transformers:
    """For texts [T] of tokens: the last hidden states of an encoder of transformers, and their mean over the tokens.

    Tokens are those of the encoder's own tokenizer, with 0 after the end of a text, which counts for nothing. A folder
    is read, and nothing is fetched; another name is one of the hub, over the network where it is not in the hub's
    cache. Weights are safetensors, and no code that comes with a model is run. Parts that have no share in the hidden
    states, such as a pooler, are frozen. It needs the extra ``transformers``.

    Raises:
        ValueError: no name; when it is built, a folder without a model, or texts that are too long.
        ImportError: when it is built, transformers is missing.
    """

    source: str = ""
    """A folder with ``config.json``, or a name on the hub, such as "distilbert/distilbert-base-uncased"."""
    pretrained: bool = True
    """False: the configuration alone is read, and weights are drawn under the experiment's seed."""
    revision: str = ""
    """Commit or branch of a name on the hub; empty: its main one."""
    per_token: bool = False
    """Features for each token, [hidden size, T]; else their mean."""

    def __post_init__(self) -> None:
        check_text("Transformers: source", self.source)
        if not self.source:
            raise ValueError('Transformers takes a folder, or a name such as "distilbert/distilbert-base-uncased".')

    def fingerprint(self) -> Any:
        """Return the content for comparisons: that of a folder, wherever it lies."""
        return self.weights_digest(), self.pretrained, self.revision, self.per_token

    def weights_digest(self) -> str:
        """The SHA-256 of a folder's configuration and weights; of a name on the hub, that name."""
        folder = Path(self.source)
        if not folder.is_dir():
            return f"{self.source}@{self.revision}"
        found = hashlib.sha256()
        for file in sorted([*folder.glob("config.json"), *(folder.glob("*.safetensors") if self.pretrained else ())]):
            with open(file, "rb") as opened:
                found.update(f"{file.name}:{hashlib.file_digest(opened, 'sha256').hexdigest()};".encode())
        return found.hexdigest()

    def trunk(self, input_shape: tuple[int, ...]) -> nn.Module:
        length = text_length("Transformers", input_shape)
        hub = optional_package("Transformers", "transformers", "transformers")
        given: dict[str, Any] = {"revision": self.revision or None, "local_files_only": Path(self.source).is_dir()}
        given |= {"trust_remote_code": False}
        try:
            config = hub.AutoConfig.from_pretrained(self.source, **given)
            if self.pretrained:
                given |= {"use_safetensors": True, "dtype": torch.float32}
                encoder = hub.AutoModel.from_pretrained(
                    self.source, config=config, attn_implementation="eager", **given
                )
            else:
                encoder = hub.AutoModel.from_config(config, attn_implementation="eager")
        except (OSError, ValueError, KeyError) as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ValueError(
                f"{self!r}: no encoder can be made of it ({line}); give a folder that save_pretrained wrote, with "
                "safetensors, or a name on the hub where there is a network."
            ) from error
        longest = getattr(config, "max_position_embeddings", None)  # not every encoder has such
        if longest is not None and length > longest:
            raise ValueError(f"{self!r} takes texts of at most {longest} tokens, got {length}; cut the texts.")
        trunk = _Encoder(encoder.float(), self.per_token).eval()
        _freeze_unused(trunk, length)
        return trunk.train()

    def head(self, features: Any, outputs: Any) -> nn.Module:
        if self.per_token:
            return places_head(self, features, outputs, padded=True)
        return linear_head(self, features, outputs)


class _Encoder(nn.Module):
    def __init__(self, encoder: nn.Module, per_token: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.per_token = per_token

    def forward(self, x: Tensor) -> Tensor:
        mask = token_mask(x, torch.zeros((), device=x.device))
        # Of four dimensions, added to the scores: one of two would be asked whether it hides anything at all, a branch
        # that no stack of clients can take.
        scores = ((mask - 1) * _HIDDEN)[:, None, None, :].expand(-1, 1, x.shape[1], -1)
        found = self.encoder(input_ids=x, attention_mask=scores).last_hidden_state
        return (found * mask[..., None]).transpose(1, 2) if self.per_token else masked_mean(found, mask)


def _freeze_unused(trunk: nn.Module, length: int) -> None:
    """Freeze parameters of which no hidden state is a function."""
    own = [value for value in trunk.parameters() if value.requires_grad]
    with torch.enable_grad():
        total = trunk(torch.ones(1, length, dtype=torch.int64)).sum()
    for value, slope in zip(own, torch.autograd.grad(total, own, allow_unused=True), strict=True):
        value.requires_grad_(slope is not None)
