"""TCA, the temporal context aggregator: every token of a frame sees an aggregate of the earlier frames' tokens.

The `cumulative` form of the released code with its faults mended: keys and values of a frame are its own plus the
weighted sum of those of the earlier frames, whose gradient is cut. Attention stays inside a frame, so the cost grows
linearly with the number of frames and a stream needs two running sums only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.models.config import TemporalContextConfig


class TemporalContextBlock(nn.Module):
    """One pre-norm block of cumulative temporal attention and an MLP.

    Args:
        width: Token width D, a multiple of `head_dim`.
        max_steps: Longest clip.
        normalise: Divide the prefix sum by the sum of its weights, at least 1.
        head_dim: Width of one attention head.

    Source:
        ADiko1997/S-GEAR, models/attention.py:700-845, with faults 9 to 12 of its head merge, prefix sum and spatial
        mask corrected.
    """

    def __init__(self, width: int, *, max_steps: int, normalise: bool, head_dim: int) -> None:
        super().__init__()
        self.normalise = normalise
        self.head_dim = head_dim
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width)
        self.step_weights = nn.Parameter(torch.ones(max_steps))
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def _with_past(self, tokens: Tensor, weights: Float[Tensor, "B T"]) -> Tensor:
        """Add to each frame the weighted sum of the earlier frames; [B T h N d]."""
        weight = weights[:, :, None, None, None]
        weighted = weight * tokens.detach()
        past = weighted.cumsum(dim=1) - weighted
        if self.normalise:
            total = weight.cumsum(dim=1) - weight
            past = past / total.clamp(min=1.0)
        return tokens + past

    def forward(
        self, tokens: Float[Tensor, "B T N D"], exists: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T N D"]:
        """Apply the block; steps that do not exist give nothing to later ones."""
        query, key, value = rearrange(
            self.qkv(self.attention_norm(tokens)),
            "B T N (three h d) -> three B T h N d",
            three=3,
            d=self.head_dim,
        )
        weights = self.step_weights[: tokens.shape[1]].expand(tokens.shape[:2])
        if exists is not None:
            weights = weights * exists
        read = F.scaled_dot_product_attention(query, self._with_past(key, weights), self._with_past(value, weights))
        tokens = tokens + self.attention_out(rearrange(read, "B T h N d -> B T N (h d)"))
        return tokens + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(tokens))))


class TemporalContextAggregator(nn.Module):
    """A stack of `TemporalContextBlock`."""

    def __init__(self, config: TemporalContextConfig, *, width: int, max_steps: int) -> None:
        super().__init__()
        head_dim = 64 if width % 64 == 0 and width >= 256 else 32
        if width % head_dim:
            raise ValueError(f"TCA needs a width that is a multiple of {head_dim}, got {width}")
        self.blocks = nn.ModuleList(
            TemporalContextBlock(width, max_steps=max_steps, normalise=config.normalise, head_dim=head_dim)
            for _ in range(config.num_blocks)
        )

    def forward(
        self, tokens: Float[Tensor, "B T N D"], exists: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T N D"]:
        """Return temporally informed tokens of the same shape."""
        for block in self.blocks:
            tokens = block(tokens, exists)
        return tokens
