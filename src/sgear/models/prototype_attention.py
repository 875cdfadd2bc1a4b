"""PA, prototype attention: each frame asks the bank of visual prototypes which actions it resembles."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from sgear.models.config import PrototypeAttentionConfig


class PrototypeAttention(nn.Module):
    """Multi-head attention with frames as queries and prototypes as keys and values.

    Args:
        config: Number of heads and gradient route.
        width: Width D of frames and prototypes.

    Source:
        S-GEAR (arXiv:2407.02309), prototype attention in the paper's roles: query = frame, keys = values =
        prototypes. The released code swaps them.
    """

    def __init__(self, config: PrototypeAttentionConfig, *, width: int) -> None:
        super().__init__()
        if width % config.num_heads:
            raise ValueError(f"model.width {width} must be a multiple of prototype_attention.num_heads")
        self.num_heads = config.num_heads
        self.detach_prototypes = config.detach_prototypes
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, frames: Float[Tensor, "B T D"], prototypes: Float[Tensor, "A D"]) -> Float[Tensor, "B T D"]:
        """Return for each frame a mix of prototypes [B T D]."""
        bank = prototypes.detach() if self.detach_prototypes else prototypes
        query = rearrange(self.query(frames), "B T (h d) -> 1 h (B T) d", h=self.num_heads)
        key, value = rearrange(self.key_value(bank), "A (two h d) -> two 1 h A d", two=2, h=self.num_heads)
        read = F.scaled_dot_product_attention(query, key, value)
        return self.out(rearrange(read, "1 h (B T) d -> B T (h d)", B=frames.shape[0]))
