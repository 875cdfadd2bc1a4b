"""The blocks of TCA: three ways for the tokens of a frame to read the tokens of earlier frames.

`cumulative` and `decay` add a weighted sum of the earlier frames' keys and values to the frame's own, so attention
stays inside a frame, the cost grows linearly with the number of frames, and a stream needs that sum only. `causal`
attends to all tokens of all earlier frames and has to keep them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.base import NO_STREAM, check_num_steps, require_whole_clip

_STREAM_REMEDY = (
    "start the stream anew, read windows with forward, or train with model.temporal_context.mode=decay, whose streams "
    "have no end"
)


@dataclass(frozen=True)
class PastSum:
    """The earlier frames of a stream as weighted sums.

    Args:
        key: Sum of keys [B h N d].
        value: Sum of values [B h N d].
        weight: Sum of weights [B h 1 1].
        num_steps: Number of frames seen.
    """

    key: Tensor
    value: Tensor
    weight: Tensor
    num_steps: int


@dataclass(frozen=True)
class PastTokens:
    """The earlier frames of a stream token by token.

    Args:
        key: Keys [B h M d] of the M tokens so far.
        value: Values [B h M d].
        mask: Which of these tokens belong to a real frame [B M].
        num_steps: Number of frames seen.
    """

    key: Tensor
    value: Tensor
    mask: Tensor
    num_steps: int


BlockState = PastSum | PastTokens


class TemporalContextBlock(nn.Module, ABC):
    """A pre-norm transformer block; children say how the past is read.

    Args:
        width: Token width D, a multiple of `head_dim`.
        head_dim: Width of one attention head.
        detach_past: Keep gradients from flowing into the keys and values of earlier frames.
    """

    def __init__(self, width: int, *, head_dim: int, detach_past: bool) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.num_heads = width // head_dim
        self.detach_past = detach_past
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    @abstractmethod
    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Bool[Tensor, "_ T"]) -> Tensor:
        """Read all frames of a clip at once; tensors are [B T h N d], `mask` is [B T] or [1 T]."""

    @abstractmethod
    def attend_step(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Bool[Tensor, " B"], state: BlockState | None
    ) -> tuple[Tensor, BlockState]:
        """Read one more frame; tensors are [B h N d], `state` is what the frame before left."""

    def forward(
        self, tokens: Float[Tensor, "B T N D"], mask: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T N D"]:
        """Apply the block; steps that do not exist give nothing to later ones."""
        if mask is None:
            # One row serves all clips: a mask over all tokens of a long clip is large.
            mask = torch.ones(1, tokens.shape[1], dtype=torch.bool, device=tokens.device)
        return self._finish(tokens, self.read_clip(self.attention_norm(tokens), mask))

    def step(
        self, tokens: Float[Tensor, "B N D"], mask: Bool[Tensor, " B"], state: BlockState | None
    ) -> tuple[Float[Tensor, "B N D"], BlockState]:
        """Apply the block to the next frame of a stream; equal to `forward` over the whole stream."""
        read, state = self.attend_step(*self._project(self.attention_norm(tokens)), mask, state)
        return self._finish(tokens, read), state

    def read_clip(self, normed: Float[Tensor, "B T N D"], mask: Bool[Tensor, "_ T"]) -> Float[Tensor, "B T h N d"]:
        """Return what each token reads, of all frames of a clip at once."""
        return self.attend(*self._project(normed), mask)

    def _project(self, normed: Float[Tensor, "*b N D"]) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(normed)
        query, key, value = rearrange(qkv, "... N (three h d) -> three ... h N d", three=3, d=self.head_dim)
        return query, key, value

    def _finish(self, tokens: Float[Tensor, "*b N D"], read: Float[Tensor, "*b h N d"]) -> Float[Tensor, "*b N D"]:
        # Pre-norm residuals: x + W_o A(LN(x)), then x + MLP(LN(x)).
        tokens = tokens + self.attention_out(rearrange(read, "... h N d -> ... N (h d)"))
        return tokens + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(tokens))))

    def _cut(self, past: Tensor) -> Tensor:
        return past.detach() if self.detach_past else past


class _SumBlock(TemporalContextBlock):
    """A block that reads the past as one weighted sum of keys and one of values.

    Args:
        normalise: Divide the sums by the sum of their weights, at least 1.
    """

    def __init__(self, width: int, *, head_dim: int, detach_past: bool, normalise: bool) -> None:
        super().__init__(width, head_dim=head_dim, detach_past=detach_past)
        self.normalise = normalise

    @abstractmethod
    def _absorb(self, past: Tensor, new: Tensor, real: Float[Tensor, "B h 1 1"], step_idx: int) -> Tensor:
        """Return the sum that the frame after `step_idx` reads; `past` and `new` are [B h _ _]."""

    @abstractmethod
    def _sums(self, values: Tensor, real: Float[Tensor, "B T h 1 1"]) -> Tensor:
        """Return what each frame reads of the frames strictly before it; both are [B T h _ _]."""

    def _join(self, own: Tensor, past: Tensor, weight: Tensor) -> Tensor:
        # k_t + sum_s w_s k_s / max(1, sum_s w_s); the bound keeps a past of small weight small.
        return own + (past / weight.clamp(min=1.0) if self.normalise else past)

    def read_clip(self, normed: Float[Tensor, "B T N D"], mask: Bool[Tensor, "_ T"]) -> Float[Tensor, "B T h N d"]:
        """See `TemporalContextBlock.read_clip`."""
        if normed.shape[2] > 1:
            return super().read_clip(normed, mask)
        # A softmax over the one token of a stored feature is 1, whatever the query: the value alone is read.
        value = F.linear(normed, self.qkv.weight[2 * normed.shape[-1] :])
        value = rearrange(value, "B T N (h d) -> B T h N d", d=self.head_dim)
        (joined,) = self._joined([value], mask)
        return joined.to(value.dtype)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Bool[Tensor, "_ T"]) -> Tensor:
        """See `TemporalContextBlock.attend`."""
        key, value = self._joined([key, value], mask)
        return F.scaled_dot_product_attention(query, key.to(query.dtype), value.to(query.dtype))

    def _joined(self, parts: list[Tensor], mask: Bool[Tensor, "_ T"]) -> list[Tensor]:
        # Sums over many frames keep float32 under autocast.
        real = repeat(mask, "B T -> B T h 1 1", h=self.num_heads).float()
        # The sum of the weights themselves, by the same rule: what `normalise` divides by.
        weight = self._sums(torch.ones_like(real), real)
        return [self._join(part, self._sums(self._cut(part), real), weight) for part in parts]

    def attend_step(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Bool[Tensor, " B"], state: BlockState | None
    ) -> tuple[Tensor, PastSum]:
        """See `TemporalContextBlock.attend_step`."""
        real = repeat(mask, "B -> B h 1 1", h=self.num_heads).float()
        if state is None:
            empty = torch.zeros_like(key, dtype=torch.float32)
            state = PastSum(key=empty, value=empty, weight=torch.zeros_like(real), num_steps=0)
        assert isinstance(state, PastSum)
        read = F.scaled_dot_product_attention(
            query,
            self._join(key, state.key, state.weight).to(query.dtype),
            self._join(value, state.value, state.weight).to(query.dtype),
        )
        following = PastSum(
            key=self._absorb(state.key, self._cut(key), real, state.num_steps),
            value=self._absorb(state.value, self._cut(value), real, state.num_steps),
            weight=self._absorb(state.weight, torch.ones_like(real), real, state.num_steps),
            num_steps=state.num_steps + 1,
        )
        return read, following


class CumulativeBlock(_SumBlock):
    """past_t = sum over s < t of w_s kv_s, with one learned weight per position, 1 at first.

    Args:
        max_steps: Number of positions.

    Source:
        ADiko1997/S-GEAR, models/attention.py:700-845, with these faults corrected: heads were merged over the time
        axis; the prefix sum subtracted the unweighted own value, which leaves (w_t - 1) kv_t behind; a triangular
        mask over the tokens of one frame set scores to 0 instead of hiding them; the sum grew with the clip.
    """

    def __init__(self, width: int, *, max_steps: int, head_dim: int, detach_past: bool, normalise: bool) -> None:
        super().__init__(width, head_dim=head_dim, detach_past=detach_past, normalise=normalise)
        self.step_weights = nn.Parameter(torch.ones(max_steps))

    def _absorb(self, past: Tensor, new: Tensor, real: Float[Tensor, "B h 1 1"], step_idx: int) -> Tensor:
        check_num_steps(step_idx + 1, len(self.step_weights), what="stream", remedy=_STREAM_REMEDY)
        return past + self.step_weights[step_idx] * real * new

    def _sums(self, values: Tensor, real: Float[Tensor, "B T h 1 1"]) -> Tensor:
        num_steps = values.shape[1]
        check_num_steps(num_steps, len(self.step_weights))
        # Shifted by one step after the running sum: frame t reads s < t, not itself.
        weighted = self.step_weights[:num_steps, None, None, None] * real * values
        return F.pad(weighted.cumsum(dim=1)[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))


class OriginalBlock(CumulativeBlock):
    """Cumulative TCA as the released code computes it, faults included: for weights that were trained with them.

    What `CumulativeBlock` corrects is here as it was: the sum over the past keeps (w_t - 1) kv_t of the frame itself,
    scores of later tokens of a frame are 0, not hidden, and heads and frames are interleaved, so that a frame reads
    other frames, also later ones. A clip is therefore read as a whole; nothing outside of it is.

    Args:
        max_steps: Number of steps of every clip.

    Source:
        ADiko1997/S-GEAR, models/attention.py:700-845.
    """

    def __init__(self, width: int, *, max_steps: int, head_dim: int, detach_past: bool) -> None:
        super().__init__(width, max_steps=max_steps, head_dim=head_dim, detach_past=detach_past, normalise=False)

    def read_clip(self, normed: Float[Tensor, "B T N D"], mask: Bool[Tensor, "_ T"]) -> Float[Tensor, "B T h N d"]:
        """See `TemporalContextBlock.read_clip`."""
        require_whole_clip(normed.shape[1], len(self.step_weights), mask)
        read = super().read_clip(normed, mask)
        # Frames and heads are swapped before the reshape, where heads and tokens should be.
        return rearrange(read.transpose(1, 2).reshape(normed.shape), "B T N (h d) -> B T h N d", d=self.head_dim)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Bool[Tensor, "_ T"]) -> Tensor:
        """See `TemporalContextBlock.attend`."""
        key, value = self._joined([key, value], mask)
        # [B T h N N]; tril sets later tokens to a score of 0, which is not the same as hiding them.
        scores = query @ key.to(query.dtype).transpose(-2, -1) / self.head_dim**0.5
        return scores.tril().softmax(dim=-1) @ value.to(query.dtype)

    def attend_step(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Bool[Tensor, " B"], state: BlockState | None
    ) -> tuple[Tensor, PastSum]:
        """See `TemporalContextBlock.attend_step`.

        Raises:
            ValueError: Always.
        """
        raise ValueError(NO_STREAM)

    def _sums(self, values: Tensor, real: Float[Tensor, "B T h 1 1"]) -> Tensor:
        # sum over s <= t of w_s kv_s, minus an unweighted kv_t: the fault that `CumulativeBlock` corrects.
        return (self.step_weights[:, None, None, None] * values).cumsum(dim=1) - values


class DecayBlock(_SumBlock):
    """past_t = sum over s < t of exp(-(t - s) / lifetime) kv_s, with one learned lifetime per head.

    The sum obeys past_t = exp(-1 / lifetime) (past_{t-1} + kv_{t-1}), so its state does not grow and a stream has no
    longest length. A step that does not exist gives nothing, and time passes over it.

    Args:
        lifetime_steps: Start value of the lifetime, in steps.

    Raises:
        ConfigError: If the lifetime is not positive.
    """

    def __init__(self, width: int, *, lifetime_steps: float, head_dim: int, detach_past: bool, normalise: bool) -> None:
        super().__init__(width, head_dim=head_dim, detach_past=detach_past, normalise=normalise)
        if lifetime_steps <= 0:
            raise ConfigError(f"model.temporal_context.lifetime_steps must be positive, got {lifetime_steps}")
        self.log_lifetime = nn.Parameter(torch.full((self.num_heads,), math.log(lifetime_steps)))

    def _absorb(self, past: Tensor, new: Tensor, real: Float[Tensor, "B h 1 1"], step_idx: int) -> Tensor:
        # past_{t+1} = exp(-1 / lifetime) (past_t + kv_t); exp(-log lifetime) = 1 / lifetime.
        return torch.exp(-torch.exp(-self.log_lifetime))[:, None, None] * (past + real * new)

    def _sums(self, values: Tensor, real: Float[Tensor, "B T h 1 1"]) -> Tensor:
        steps = torch.arange(values.shape[1], device=values.device)
        # [T T]: how many steps s lies before t; the clamp only keeps the unused half finite.
        age = (steps[:, None] - steps).clamp(min=1)
        weights = torch.exp(-age * torch.exp(-self.log_lifetime)[:, None, None]).tril(-1)
        # bf16 has 8 bits: in a sum over a long clip the newest frames would be rounded away.
        with torch.autocast(values.device.type, enabled=False):
            return torch.einsum("h t s, B s h N d -> B t h N d", weights, real * values)


class CausalBlock(TemporalContextBlock):
    """Multi-head attention over all T * N tokens in which frame t sees frame s if and only if s <= t.

    With `detach_past`, own and earlier tokens are separate keys in training: attention then costs twice as much.

    Args:
        max_steps: Longest clip; bounds what a stream has to keep.

    Source:
        S-GEAR (arXiv:2407.02309), TCA as the paper words it: a causal mask over the frames, not over their tokens.
    """

    def __init__(self, width: int, *, max_steps: int, head_dim: int, detach_past: bool) -> None:
        super().__init__(width, head_dim=head_dim, detach_past=detach_past)
        self.max_steps = max_steps

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Bool[Tensor, "_ T"]) -> Tensor:
        """See `TemporalContextBlock.attend`."""
        num_steps, num_tokens = key.shape[1], key.shape[3]
        check_num_steps(num_steps, self.max_steps)
        own = torch.eye(num_steps, dtype=torch.bool, device=key.device).expand(mask.shape[0], -1, -1)
        order = torch.ones(num_steps, num_steps, dtype=torch.bool, device=key.device).tril(-1)
        # Frame t sees its own tokens always, and those of earlier frames that are real.
        past = order & mask[:, None, :]
        query, key, value = (rearrange(part, "B T h N d -> B h (T N) d") for part in (query, key, value))
        if self.detach_past and torch.is_grad_enabled():
            # Two copies of the keys: earlier frames through the one without gradient, the own frame through the other.
            visible = torch.cat([past, own], dim=2)
            key, value = torch.cat([key.detach(), key], dim=2), torch.cat([value.detach(), value], dim=2)
        else:
            visible = past | own
        # From frames to tokens: all N tokens of a frame see the same.
        allowed = repeat(visible, "B T S -> B 1 (T N) (S M)", N=num_tokens, M=num_tokens)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return rearrange(read, "B h (T N) d -> B T h N d", T=num_steps)

    def attend_step(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Bool[Tensor, " B"], state: BlockState | None
    ) -> tuple[Tensor, PastTokens]:
        """See `TemporalContextBlock.attend_step`."""
        own = torch.ones(key.shape[0], key.shape[2], dtype=torch.bool, device=key.device)
        # Absent frames still read themselves, as in `attend`; later frames skip them.
        all_key, all_value, visible, num_steps = key, value, own, 1
        remembered = own & mask[:, None]
        if state is not None:
            assert isinstance(state, PastTokens)
            num_steps = state.num_steps + 1
            check_num_steps(num_steps, self.max_steps, what="stream", remedy=_STREAM_REMEDY)
            all_key = torch.cat([self._cut(state.key), key], dim=2)
            all_value = torch.cat([self._cut(state.value), value], dim=2)
            visible = torch.cat([state.mask, own], dim=1)
            remembered = torch.cat([state.mask, remembered], dim=1)
        read = F.scaled_dot_product_attention(query, all_key, all_value, attn_mask=visible[:, None, None])
        return read, PastTokens(key=all_key, value=all_value, mask=remembered, num_steps=num_steps)
