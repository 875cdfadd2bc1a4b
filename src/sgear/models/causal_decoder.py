"""The causal decoder: a pre-norm GPT-2 stack that reads features and predicts the next one.

Its blocks compute what GPT-2 blocks compute (fused qkv with bias, tanh GELU, learned positions), so that decoders of
AVT fit. Steps that do not exist (a video shorter than the window) are masked as keys, never filled.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.models.config import DecoderConfig


def causal_mask(exists: Bool[Tensor, "B T"]) -> Bool[Tensor, "B 1 T T"]:
    """Return which step (row) may read which step (column): earlier existing ones, and itself.

    A step that does not exist still reads itself, so that no softmax runs over nothing.
    """
    num_steps = exists.shape[1]
    order = torch.ones(num_steps, num_steps, dtype=torch.bool, device=exists.device).tril()
    own = torch.eye(num_steps, dtype=torch.bool, device=exists.device)
    return ((order & exists[:, None, :]) | own)[:, None]


class CausalBlock(nn.Module):
    """One pre-norm transformer block with causal self-attention."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, steps: Float[Tensor, "B T W"], mask: Bool[Tensor, "B 1 T T"] | None) -> Float[Tensor, "B T W"]:
        """Apply the block; `mask` None means that every step exists."""
        query, key, value = rearrange(
            self.qkv(self.attention_norm(steps)),
            "B T (three h d) -> three B h T d",
            three=3,
            h=self.num_heads,
        )
        read = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None,
        )
        attended = self.attention_out(rearrange(read, "B h T d -> B T (h d)"))
        steps = steps + F.dropout(attended, self.dropout, self.training)
        hidden = F.gelu(self.mlp_in(self.mlp_norm(steps)), approximate="tanh")
        return steps + F.dropout(self.mlp_out(hidden), self.dropout, self.training)


class CausalDecoder(nn.Module):
    """Predict the feature after each step from that step and the earlier ones.

    Args:
        config: Sizes and dropout.
        feature_dim: Width D of the features read and predicted.
        max_steps: Longest clip.

    Source:
        AVT, section 3.2 (arXiv:2106.02036): bias-free linear maps around a GPT-2 without its token table.
    """

    def __init__(self, config: DecoderConfig, *, feature_dim: int, max_steps: int) -> None:
        super().__init__()
        if config.width % config.num_heads:
            raise ValueError(f"decoder.width {config.width} must be a multiple of num_heads {config.num_heads}")
        self.dropout = config.dropout
        self.project_in = nn.Linear(feature_dim, config.width, bias=False)
        self.max_steps = max_steps
        self.positions = nn.Embedding(max_steps, config.width) if config.positions else None
        self.blocks = nn.ModuleList(
            CausalBlock(config.width, config.num_heads, config.dropout) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.project_out = nn.Linear(config.width, feature_dim, bias=False)
        self._initialise(config.num_layers, config.init_std)

    def _initialise(self, num_layers: int, std: float) -> None:
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                # GPT-2 shrinks what enters the residual stream, so that its variance does not grow with depth.
                is_residual = name.endswith(("attention_out.weight", "mlp_out.weight"))
                nn.init.normal_(parameter, std=std / (2 * num_layers) ** 0.5 if is_residual else std)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(
        self, observed: Float[Tensor, "B T D"], exists: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """Predict the next feature of each step.

        Args:
            observed: Features in order of time [B T D].
            exists: Which steps are real [B T]. Default: all.

        Returns:
            Predicted features [B T D].

        Raises:
            ValueError: If the clip is longer than the decoder was built for.
        """
        num_steps = observed.shape[1]
        if num_steps > self.max_steps:
            raise ValueError(
                f"clip of {num_steps} steps, but this model was built for at most {self.max_steps}; "
                "shorten tau_o_s * fps or train with a larger model.max_steps"
            )
        steps = self.project_in(observed)
        if self.positions is not None:
            steps = steps + self.positions.weight[:num_steps]
        steps = F.dropout(steps, self.dropout, self.training)
        mask = None if exists is None else causal_mask(exists)
        for block in self.blocks:
            steps = block(steps, mask)
        return self.project_out(self.norm(steps))
