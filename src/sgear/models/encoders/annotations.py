"""The encoder of the annotated past: the newest actions of a step, with their ages, become one token."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.class_vectors import ClassVectors
from sgear.models.config import EncoderConfig
from sgear.segments import UNKNOWN_ACTION

ANNOTATIONS = "annotations"


class PastAttention(nn.Module):
    """Attention over actions of the past whose scores fall with age and with rank, at rates that are learned per head.

    Args:
        width: Width D of tokens and queries.
        num_heads: Number of heads h.
        dropout: Dropout of the weights.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if width % num_heads:
            raise ConfigError(f"model.encoder.num_heads={num_heads} must divide the width {width} of the tokens")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        # Rates from almost 0 (the whole past counts alike) to 1 per step or per e-fold of age.
        self.age_rate = nn.Parameter(torch.linspace(-3.0, 0.5, num_heads))
        self.rank_rate = nn.Parameter(torch.linspace(-3.0, 0.5, num_heads))

    def forward(
        self,
        queries: Float[Tensor, "M Q D"],
        tokens: Float[Tensor, "M K D"],
        ages: Float[Tensor, "M K"],
        mask: Bool[Tensor, "M K"],
    ) -> Float[Tensor, "M Q D"]:
        """Read the tokens.

        Args:
            queries: What asks.
            tokens: The actions, oldest first.
            ages: log(1 + age in seconds) of each.
            mask: Which are real; a query with none reads zeros.
        """
        query = rearrange(self.query(queries), "M Q (h d) -> M h Q d", h=self.num_heads)
        key, value = rearrange(self.key_value(tokens), "M K (two h d) -> two M h K d", two=2, h=self.num_heads)
        ranks = torch.arange(tokens.shape[1] - 1, -1, -1, device=tokens.device, dtype=tokens.dtype)
        # [M h 1 K]: what is old or far back needs a better match to be read.
        fall = F.softplus(self.age_rate)[:, None] * ages[:, None] + F.softplus(self.rank_rate)[:, None] * ranks
        bias = (-fall).masked_fill(~mask[:, None], torch.finfo(tokens.dtype).min)[:, :, None]
        read = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, dropout_p=self.dropout if self.training else 0.0
        )
        return self.out(rearrange(read, "M h Q d -> M Q (h d)")) * mask.any(dim=1)[:, None, None]


class SeenActions(NamedTuple):
    """The actions that each step of a clip shows, oldest first.

    Args:
        tokens: Token of each [B T K D].
        actions: Class of each [B T K]; -1 where there is none.
    """

    tokens: Float[Tensor, "B T K D"]
    actions: Int[Tensor, "B T K"]


class PastEncoder(nn.Module):
    """Map records of the past [B T K 3] to one token per step [B T 1 D].

    Each action is the sum of its class vector and a map of its age and length. `depth` blocks let the actions read each
    other; then a query made of the last two asks all of them.

    Args:
        config: `composition`, `text_dim`, `depth`, `num_heads` and `feature_dropout` are read.
        width: Width D.
        num_actions: Number of classes A.
        num_verbs: Number of verbs V.
        num_nouns: Number of nouns N.
    """

    def __init__(
        self, config: EncoderConfig, *, width: int, num_actions: int, num_verbs: int = 0, num_nouns: int = 0
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        num_heads = config.num_heads or 4
        self.classes = ClassVectors(
            config.composition,
            width=width,
            num_actions=num_actions,
            num_verbs=num_verbs,
            num_nouns=num_nouns,
            text_dim=config.text_dim,
            std=width**-0.5,
        )
        # No action, and the beginning of the video.
        self.others = nn.Parameter(torch.randn(2, width) * width**-0.5)
        self.times = nn.Sequential(nn.Linear(3, 32), nn.GELU(), nn.Linear(32, width))
        self.dropout = nn.Dropout(config.feature_dropout)
        self.blocks = nn.ModuleList(
            PastAttention(width, num_heads, config.feature_dropout) for _ in range(config.depth)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.depth))
        self.ask = nn.Linear(2 * width, width)
        self.pool = PastAttention(width, num_heads, config.feature_dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, clip: Float[Tensor, "B T K 3"]) -> Float[Tensor, "B T 1 D"]:
        """Return one token per step."""
        return self.read(clip)[0]

    def read(self, clip: Float[Tensor, "B T K 3"]) -> tuple[Float[Tensor, "B T 1 D"], SeenActions]:
        """Return one token per step, and the actions that it was made of.

        Raises:
            ConfigError: If the clip is no record of the past.
        """
        if clip.ndim != 4 or clip.shape[-1] != 3:
            raise ConfigError(
                f"this model reads the annotated past, records [B T K 3], got a clip of shape {tuple(clip.shape)}; "
                "check source.kind"
            )
        records = clip.flatten(0, 1)
        numbers = records[..., 0].long()
        mask = numbers > 0
        # Row 0: no action; rows 1 to A: the actions; row A + 1: the beginning of the video.
        table = torch.cat([self.others[:1], self.classes(), self.others[1:]])
        ages, lengths = records[..., 1].clamp(min=0).log1p(), records[..., 2].clamp(min=0).log1p()
        since_end = (records[..., 1] - records[..., 2]).clamp(min=0).log1p()
        times = self.times(torch.stack([ages, lengths, since_end], dim=-1) / 4)
        tokens = self.dropout(F.embedding(numbers, table) + times)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            read = norm(tokens)
            tokens = tokens + self.dropout(block(read, read, ages, mask))
        last_two = tokens[:, -2:] if tokens.shape[1] > 1 else tokens.expand(-1, 2, -1)
        query = self.ask((last_two * mask[:, -2:, None]).flatten(1))[:, None]
        pooled = query + self.dropout(self.pool(query, self.norm(tokens), ages, mask))
        # Neither "no action" nor the beginning of the video is an action.
        is_action = mask & (numbers <= self.num_actions)
        actions = torch.where(is_action, numbers - 1, UNKNOWN_ACTION)
        seen = SeenActions(tokens.unflatten(0, clip.shape[:2]), actions.unflatten(0, clip.shape[:2]))
        return pooled.unflatten(0, clip.shape[:2]), seen
