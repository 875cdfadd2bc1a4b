"""The causal decoder: a pre-norm GPT-2 stack that reads features and predicts the next one.

Its blocks compute what GPT-2 blocks compute (fused qkv with bias, tanh GELU, learned positions), so that decoders of
AVT fit. Steps that do not exist (a video shorter than the window) are masked as keys, never filled. Clips can be read
whole or in parts: a cache of keys and values carries what was read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.base import check_num_steps
from sgear.models.config import DecoderConfig

KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class DecoderCache:
    """What the decoder has read so far.

    Args:
        layers: Key and value [B h T d] of each block.
        mask: Which steps are real [B T]; None where all are.
    """

    layers: tuple[KeyValue, ...]
    mask: Bool[Tensor, "B T"] | None

    @property
    def num_steps(self) -> int:
        """Number of steps read."""
        return self.layers[0][0].shape[2]


@dataclass(frozen=True)
class DecoderWindow:
    """The newest steps of a stream, as many as the decoder can read.

    Args:
        observed: Their features [B T D].
        cache: Their keys and values.
    """

    observed: Float[Tensor, "B T D"]
    cache: DecoderCache


def causal_mask(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B 1 T T"]:
    """Return which step (row) may read which step (column): earlier existing ones, and itself.

    A step that does not exist still reads itself, so that no softmax runs over nothing.
    """
    num_steps = mask.shape[1]
    # True at [t, s] where s is not later than t.
    order = torch.ones(num_steps, num_steps, dtype=torch.bool, device=mask.device).tril()
    own = torch.eye(num_steps, dtype=torch.bool, device=mask.device)
    return ((order & mask[:, None, :]) | own)[:, None]


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

    def forward(
        self, steps: Float[Tensor, "B T W"], allowed: Bool[Tensor, "B 1 T S"] | None, past: KeyValue | None = None
    ) -> tuple[Float[Tensor, "B T W"], KeyValue]:
        """Apply the block.

        Args:
            steps: The steps to read.
            allowed: Which of all steps, earlier ones included, each of them may read. None: every step up to its own.
            past: Keys and values of earlier steps.

        Returns:
            The new steps, and keys and values of all steps.
        """
        query, key, value = rearrange(
            self.qkv(self.attention_norm(steps)),
            "B T (three h d) -> three B h T d",
            three=3,
            h=self.num_heads,
        )
        if past is not None:
            # [B h T d]: earlier steps stand first, so the newest query may read them all.
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        read = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=allowed,
            dropout_p=self.dropout if self.training else 0.0,
            # A single newest step may read everything.
            is_causal=allowed is None and steps.shape[1] > 1,
        )
        attended = self.attention_out(rearrange(read, "B h T d -> B T (h d)"))
        steps = steps + F.dropout(attended, self.dropout, self.training)
        # The tanh form, as in GPT-2: with the exact one, weights of AVT would give other scores.
        hidden = F.gelu(self.mlp_in(self.mlp_norm(steps)), approximate="tanh")
        return steps + F.dropout(self.mlp_out(hidden), self.dropout, self.training), (key, value)


class CausalDecoder(nn.Module):
    """Predict the feature after each step from that step and the earlier ones.

    Args:
        config: Sizes and dropout.
        feature_dim: Width D of the features read and predicted.
        max_steps: Longest clip.

    Raises:
        ConfigError: If the width cannot be split into heads.

    Source:
        AVT, section 3.2 (arXiv:2106.02036): bias-free linear maps around a GPT-2 without its token table.
    """

    def __init__(self, config: DecoderConfig, *, feature_dim: int, max_steps: int) -> None:
        super().__init__()
        if config.width % config.num_heads:
            raise ConfigError(
                f"model.decoder.width={config.width} must be a multiple of model.decoder.num_heads={config.num_heads}"
            )
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
        self, observed: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """Predict the next feature of each step.

        Args:
            observed: Features in order of time [B T D].
            mask: Which steps are real [B T]. Default: all.

        Returns:
            Predicted features [B T D].

        Raises:
            ValueError: If the clip is longer than the decoder was built for.
        """
        return self.prefill(observed, mask)[0]

    def prefill(
        self,
        observed: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B T"] | None = None,
        cache: DecoderCache | None = None,
    ) -> tuple[Float[Tensor, "B T D"], DecoderCache]:
        """Read several steps, after those in `cache`; the predictions equal those of `forward` over all steps.

        Args:
            observed: Features of the new steps.
            mask: Which of the new steps are real. Default: all.
            cache: What was read before; None starts a clip.

        Returns:
            Predicted features of the new steps, and the cache for the next ones.

        Raises:
            ValueError: If all steps together are more than the decoder was built for.
        """
        num_new, num_past = observed.shape[1], 0 if cache is None else cache.num_steps
        check_num_steps(num_past + num_new, self.max_steps)
        # [B T D] -> [B T W]
        steps = self.project_in(observed)
        if self.positions is not None:
            # Positions of the window, not of the video: step 0 is the oldest that the decoder reads.
            steps = steps + self.positions.weight[num_past : num_past + num_new]
        steps = F.dropout(steps, self.dropout, self.training)
        known = _join_exists(mask, cache, like=observed)
        if known is not None:
            # Rows of the new steps alone; columns of all.
            allowed = causal_mask(known)[:, :, num_past:]
        elif num_past and num_new > 1:
            # `is_causal` aligns the first query with the first key, which is wrong behind a cache.
            num_clips, num_steps = observed.shape[0], num_past + num_new
            everything = torch.ones(num_clips, num_steps, dtype=torch.bool, device=observed.device)
            allowed = causal_mask(everything)[:, :, num_past:]
        else:
            allowed = None
        # Keys and values of every block are kept: they depend on earlier steps only, so later ones never change them.
        layers = []
        for block_idx, block in enumerate(self.blocks):
            steps, key_value = block(steps, allowed, None if cache is None else cache.layers[block_idx])
            layers.append(key_value)
        return self.project_out(self.norm(steps)), DecoderCache(layers=tuple(layers), mask=known)

    def step(
        self,
        observed: Float[Tensor, "B D"],
        window: DecoderWindow | None = None,
        mask: Bool[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B D"], DecoderWindow]:
        """Read one more step of a stream without end; equal to `forward` over the newest steps that fit.

        Args:
            observed: Feature of the new step.
            window: What the step before returned; None starts a stream.
            mask: Whether the new step is real. Default: it is.

        Returns:
            The predicted feature, and the window for the next step.
        """
        new, known = observed[:, None], None if mask is None else mask[:, None]
        if window is None:
            predicted, cache = self.prefill(new, known)
            return predicted[:, -1], DecoderWindow(observed=new, cache=cache)
        if window.cache.num_steps < self.max_steps:
            predicted, cache = self.prefill(new, known, window.cache)
            steps = torch.cat([window.observed, new], dim=1)
        else:
            # Positions count from the start of the window: when it moves, keys and values of all its steps change.
            steps = torch.cat([window.observed[:, 1:], new], dim=1)
            joined = _join_exists(known, window.cache, like=new)
            predicted, cache = self.prefill(steps, None if joined is None else joined[:, 1:])
        return predicted[:, -1], DecoderWindow(observed=steps, cache=cache)


def _join_exists(
    new: Bool[Tensor, "B T"] | None, cache: DecoderCache | None, *, like: Float[Tensor, "B T D"]
) -> Bool[Tensor, "B S"] | None:
    """Return which of the steps in the cache and of the new ones are real; None where all are."""
    past = None if cache is None else cache.mask
    if past is None and new is None:
        return None
    if new is None:
        new = torch.ones(like.shape[:2], dtype=torch.bool, device=like.device)
    if cache is None:
        return new
    if past is None:
        past = torch.ones(like.shape[0], cache.num_steps, dtype=torch.bool, device=like.device)
    return torch.cat([past, new], dim=1)
