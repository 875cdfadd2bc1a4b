"""TCA, the temporal context aggregator: every token of a frame sees an aggregate of the earlier frames' tokens."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.config import TemporalContextConfig
from sgear.models.context_blocks import (
    BlockState,
    CausalBlock,
    CumulativeBlock,
    DecayBlock,
    OriginalBlock,
    TemporalContextBlock,
)

ContextState = tuple[BlockState, ...]
"""What a stream carries from frame to frame: one state per block."""


def _build_block(config: TemporalContextConfig, *, width: int, max_steps: int, head_dim: int) -> TemporalContextBlock:
    shared: dict[str, Any] = {"head_dim": head_dim, "detach_past": config.detach_past}
    match config.mode:
        # Sum over all earlier frames with learned weights by position: one step costs the same at any length.
        case "cumulative":
            return CumulativeBlock(width, max_steps=max_steps, normalise=config.normalise, **shared)
        # Weights by age instead of position: nothing in it grows with the stream, so it never ends.
        case "decay":
            return DecayBlock(width, lifetime_steps=config.lifetime_steps, normalise=config.normalise, **shared)
        # Full attention to all earlier tokens: the most that a frame can know, at a cost that grows with the clip.
        case "causal":
            return CausalBlock(width, max_steps=max_steps, **shared)
        case "original":
            return OriginalBlock(width, max_steps=max_steps, **shared)
        case other:
            raise ConfigError(
                f"temporal_context.mode={other!r} is unknown; choose cumulative, decay, causal or original"
            )


class TemporalContextAggregator(nn.Module):
    """A stack of blocks of one kind; with none, tokens pass as they are.

    Args:
        config: Number and kind of blocks.
        width: Token width D.
        max_steps: Longest clip (`cumulative`, `causal`; `decay` has none).

    Raises:
        ConfigError: If the mode is unknown, or the width cannot be split into heads.
    """

    def __init__(self, config: TemporalContextConfig, *, width: int, max_steps: int) -> None:
        super().__init__()
        # Heads of 64, as in a ViT; narrow models get more of them.
        head_dim = 64 if width % 64 == 0 and width >= 256 else 32
        if config.num_blocks and width % head_dim:
            raise ConfigError(f"TCA needs a model.width that is a multiple of {head_dim}, got {width}")
        self.blocks = nn.ModuleList(
            _build_block(config, width=width, max_steps=max_steps, head_dim=head_dim) for _ in range(config.num_blocks)
        )

    @property
    def streams_endlessly(self) -> bool:
        """Whether `step` goes on for ever: weights by age do, weights by position and kept tokens end."""
        # One block that ends, ends the stack.
        return all(isinstance(block, DecayBlock) for block in self.blocks)

    def forward(
        self, tokens: Float[Tensor, "B T N D"], mask: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T N D"]:
        """Return temporally informed tokens of the same shape."""
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens

    def step(
        self,
        tokens: Float[Tensor, "B N D"],
        state: ContextState | None = None,
        mask: Bool[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B N D"], ContextState]:
        """Inform the tokens of the next frame of a stream; equal to `forward` over the whole stream.

        Args:
            tokens: Tokens of one frame.
            state: What the frame before returned; None starts a stream.
            mask: Whether the frame is real [B]. Default: it is.

        Returns:
            Informed tokens, and the state for the next frame.
        """
        if mask is None:
            mask = torch.ones(tokens.shape[0], dtype=torch.bool, device=tokens.device)
        following = []
        # Block l reads what block l - 1 made of this frame, and keeps a state of its own.
        for block_idx, block in enumerate(self.blocks):
            assert isinstance(block, TemporalContextBlock)
            tokens, block_state = block.step(tokens, mask, None if state is None else state[block_idx])
            following.append(block_state)
        return tokens, tuple(following)
