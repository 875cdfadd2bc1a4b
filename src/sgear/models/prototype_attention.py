"""PA, prototype attention: each frame attends to the bank of visual prototypes.

`PrototypeAttention` follows the paper. `ReleasedPrototypeAttention` keeps what the released code does besides (its
choice of prototypes and its Toeplitz term), with its faults corrected; see there. In both, a step reads itself and the
steps before it, so both run on streams. `OriginalPrototypeAttention` has the faults too: weights that were trained with
them give their scores in no other form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.base import NO_STREAM, check_num_steps, require_whole_clip
from sgear.models.config import PrototypeAttentionConfig

_HEADS_PER_WAVE = 3


@dataclass(frozen=True)
class SeenFrames:
    """What prototype attention remembers of a stream.

    Args:
        total: Sum of the real frames so far [B D]; its direction is that of their mean.
        num_steps: Number of frames so far.
    """

    total: Tensor
    num_steps: int


def nearest_prototypes(
    means: Float[Tensor, "*batch D"], prototypes: Float[Tensor, "A D"], *, k: int
) -> Int[Tensor, "*batch k"]:
    """Return the k prototypes with the largest cosine to each mean, the most similar first."""
    # Rounded cosines would choose other prototypes.
    with torch.autocast(means.device.type, enabled=False):
        cosines = F.normalize(means.float(), dim=-1) @ F.normalize(prototypes.float(), dim=-1).T
    return cosines.topk(k, dim=-1).indices


class _PrototypeAttention(nn.Module, ABC):
    """What all forms share: which prototypes a frame attends to, and what a stream remembers.

    Args:
        config: Heads, gradient route.
    """

    def __init__(self, config: PrototypeAttentionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.detach_prototypes = config.detach_prototypes

    @property
    def streams_endlessly(self) -> bool:
        """Whether streams of any length can be read."""
        return True

    @abstractmethod
    def _attend(
        self, frames: Float[Tensor, "B T D"], means: Float[Tensor, "B T D"], bank: Float[Tensor, "A D"], first_idx: int
    ) -> Float[Tensor, "B T D"]:
        """Return what each frame reads; `means` points where the frames up to each one do."""

    def forward(
        self,
        frames: Float[Tensor, "B T D"],
        prototypes: Float[Tensor, "A D"],
        mask: Bool[Tensor, "B T"] | None = None,
        informed: Float[Tensor, "B T D"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Return for each frame a mix of prototypes.

        Args:
            frames: Class tokens of the frames, before TCA.
            prototypes: The bank.
            mask: Which frames are real; others have no part in any choice. Default: all.
            informed: The same after TCA (`original` alone).
        """
        return self.extend(frames, prototypes, mask)[0]

    def extend(
        self,
        frames: Float[Tensor, "B T D"],
        prototypes: Float[Tensor, "A D"],
        mask: Bool[Tensor, "B T"] | None = None,
        seen: SeenFrames | None = None,
    ) -> tuple[Float[Tensor, "B T D"], SeenFrames]:
        """Read the next frames of a stream; equal to `forward` over the whole stream.

        Args:
            frames: New frames.
            prototypes: The bank.
            mask: Which of the new frames are real. Default: all.
            seen: What the frames before left; None starts a stream.

        Returns:
            What each new frame reads, and what the next ones need.
        """
        # The choice is no function to differentiate, and sums over a clip need float32.
        real = frames.detach().float()
        # A sum has the direction of the mean, and a cosine reads nothing but the direction.
        totals = (real if mask is None else real * mask[..., None]).cumsum(dim=1)
        first_idx = 0
        if seen is not None:
            totals, first_idx = totals + seen.total[:, None], seen.num_steps
        bank = prototypes.detach() if self.detach_prototypes else prototypes
        read = self._attend(frames, totals, bank, first_idx)
        return read, SeenFrames(total=totals[:, -1], num_steps=first_idx + frames.shape[1])


class PrototypeAttention(_PrototypeAttention):
    """Multi-head attention with frames as queries and prototypes as keys and values.

    Args:
        config: Heads, which prototypes take part, gradient route.
        width: Width D of frames and prototypes.
        num_actions: Number of prototypes A.

    Raises:
        ConfigError: If more prototypes are chosen than there are, or none.

    Source:
        S-GEAR (arXiv:2407.02309), prototype attention in the paper's roles. The paper also reports a share of 10 % of
        the prototypes and does not say which: here a random subset, drawn once from `subset_seed` and saved with the
        weights. Chosen at random, it neither needs counts of the training set nor leaves out the rare classes.
    """

    subset: Tensor | None

    def __init__(self, config: PrototypeAttentionConfig, *, width: int, num_actions: int) -> None:
        super().__init__(config)
        self.top_k = config.top_k
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        num_attended = _num_attended(config, num_actions)
        subset = None
        if num_attended < num_actions:
            generator = torch.Generator().manual_seed(config.subset_seed)
            subset = torch.randperm(num_actions, generator=generator)[:num_attended].sort().values
        self.register_buffer("subset", subset)

    def _attend(
        self, frames: Float[Tensor, "B T D"], means: Float[Tensor, "B T D"], bank: Float[Tensor, "A D"], first_idx: int
    ) -> Float[Tensor, "B T D"]:
        if self.subset is not None:
            bank = bank[self.subset]
        # [A D] -> [A 2D], once for all frames of all clips.
        key_value = self.key_value(bank)
        if self.top_k:
            # Each frame attends to prototypes of its own: as many attentions as frames, of one query each.
            key_value = rearrange(key_value[nearest_prototypes(means, bank, k=self.top_k)], "B T k E -> (B T) k E")
            queries = rearrange(self.query(frames), "B T (h d) -> (B T) h 1 d", h=self.num_heads)
        else:
            # With one bank for all clips, their frames are queries of one attention.
            key_value = key_value[None]
            queries = rearrange(self.query(frames), "B T (h d) -> 1 h (B T) d", h=self.num_heads)
        key, value = rearrange(key_value, "C P (two h d) -> two C h P d", two=2, h=self.num_heads)
        read = F.scaled_dot_product_attention(queries, key, value)
        num_clips = frames.shape[0]
        return self.out(rearrange(read, "C h M d -> (C M) (h d)").unflatten(0, (num_clips, -1)))


class ReleasedPrototypeAttention(_PrototypeAttention):
    """Prototype attention over few prototypes, blended with a map that depends on positions alone.

    Each frame attends to the k prototypes nearest to the mean of the frames so far, without projections of queries,
    keys and values, as in the released code. The shares that the ranks of the prototypes get are blended, by a
    learned gate, with shares that depend on |step - rank| alone: one learned weight per distance and head, through a
    cosine or a sine.

    Corrected against the release: frames are queries and prototypes keys (there it is the other way round, and the
    read-out of rank i is added to frame i); the choice of a clip does not depend on its batch mates; it reads the mean
    of the frames up to a step, not of the whole clip, so no step reads a later one, and the last step chooses as
    there; heads are merged over the head axis; the map's rows sum to 1; cosine and sine heads follow a rule instead of
    fixed slices; the number of prototypes is that of the steps the model was built for, so clips of any length fit.

    Args:
        config: Heads, number of prototypes, Toeplitz term, gradient route.
        width: Width D of frames and prototypes.
        num_actions: Number of prototypes A.
        max_steps: Longest clip; also the number of prototypes chosen where `config.top_k` is 0.

    Raises:
        ConfigError: If more prototypes are chosen than there are.

    Source:
        ADiko1997/S-GEAR, models/attention.py:532-651, models/common.py:100-145, models/base_model_ts.py:331-339.
    """

    def __init__(self, config: PrototypeAttentionConfig, *, width: int, num_actions: int, max_steps: int) -> None:
        super().__init__(config)
        _num_attended(config, num_actions)
        self.top_k = config.top_k or min(max_steps, num_actions)
        self.out = nn.Linear(width, width)
        self.distance_weights = None
        self.blend_gate = None
        self.max_steps = max_steps
        if config.toeplitz:
            self.distance_weights = nn.Parameter(torch.full((config.num_heads, max(max_steps, self.top_k)), 0.5))
            self.blend_gate = nn.Parameter(torch.tensor(0.5))

    @property
    def streams_endlessly(self) -> bool:
        """Not with the Toeplitz term, which knows as many positions as the longest clip has."""
        return self.blend_gate is None

    def _attend(
        self, frames: Float[Tensor, "B T D"], means: Float[Tensor, "B T D"], bank: Float[Tensor, "A D"], first_idx: int
    ) -> Float[Tensor, "B T D"]:
        # [B T k D]: prototypes of each step, the most similar first; their rank enters the Toeplitz term.
        chosen = bank[nearest_prototypes(means, bank, k=self.top_k)]
        chosen = rearrange(chosen, "B T k (h d) -> B T h k d", h=self.num_heads)
        queries = rearrange(frames, "B T (h d) -> B T h 1 d", h=self.num_heads)
        # softmax(q k^T / sqrt(d)) over the k prototypes; [B T h 1 k].
        shares = (queries @ chosen.transpose(-2, -1) / chosen.shape[-1] ** 0.5).softmax(dim=-1)
        if self.blend_gate is not None:
            gate = self.blend_gate.sigmoid()
            shares = gate * shares + (1 - gate) * self._distance_shares(first_idx, frames.shape[1])
        return self.out(rearrange(shares.to(chosen.dtype) @ chosen, "B T h 1 d -> B T (h d)"))

    def _distance_shares(self, first_idx: int, num_steps: int) -> Float[Tensor, "T h 1 k"]:
        assert self.distance_weights is not None
        check_num_steps(first_idx + num_steps, self.max_steps)
        steps = first_idx + torch.arange(num_steps, device=self.distance_weights.device)
        ranks = torch.arange(self.top_k, device=steps.device)
        # Toeplitz: [h T k], the same weight wherever |step - rank| is the same.
        weights = self.distance_weights[:, (steps[:, None] - ranks).abs()]
        is_cosine = torch.arange(self.num_heads, device=steps.device) // _HEADS_PER_WAVE % 2 == 0
        waves = torch.where(is_cosine[:, None, None], weights.cos(), weights.sin())
        return rearrange(waves.softmax(dim=-1), "h T k -> T h 1 k")


class OriginalPrototypeAttention(ReleasedPrototypeAttention):
    """Prototype attention as the released code computes it for a batch of one clip, faults included.

    Prototypes are queries, the frames after TCA are keys, and the read-out of rank i, a mix of prototypes, is added to
    frame i; the map of distances is not normalised; heads and steps are interleaved. In a larger batch the released
    code mixes the prototypes of its clips besides, which is no function of a clip and is left out. All steps read the
    whole clip: there are no streams, and no clips of another length.

    Args:
        config: Heads, gradient route.
        width: Width D of frames and prototypes.
        num_actions: Number of prototypes A.
        max_steps: Number of steps of every clip, and of prototypes chosen.

    Raises:
        ConfigError: If there are fewer actions than steps.

    Attributes:
        released_ids: Class of the released vocabulary for each action [A]. Ranks follow these ids, but for the least
            alike of the prototypes chosen, which is last: so torch selects on a GPU without sorting.

    Source:
        As `ReleasedPrototypeAttention`; the order of ranks: gatherTopK of torch, aten/src/ATen/native/cuda.
    """

    released_ids: Tensor

    def __init__(self, config: PrototypeAttentionConfig, *, width: int, num_actions: int, max_steps: int) -> None:
        whole = replace(config, toeplitz=True, top_k=max_steps)
        super().__init__(whole, width=width, num_actions=num_actions, max_steps=max_steps)
        self.register_buffer("released_ids", torch.arange(num_actions))

    @property
    def streams_endlessly(self) -> bool:
        """Never: a step reads the whole clip."""
        return False

    def forward(
        self,
        frames: Float[Tensor, "B T D"],
        prototypes: Float[Tensor, "A D"],
        mask: Bool[Tensor, "B T"] | None = None,
        informed: Float[Tensor, "B T D"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """See `_PrototypeAttention.forward`."""
        assert informed is not None
        assert self.distance_weights is not None
        assert self.blend_gate is not None
        require_whole_clip(frames.shape[1], self.top_k, mask)
        bank = prototypes.detach() if self.detach_prototypes else prototypes
        alike = nearest_prototypes(frames.detach().mean(dim=1), bank, k=self.top_k)
        # Ranks as torch selects on a GPU: by class id, the least similar of the k last.
        by_id = alike[:, :-1].gather(1, self.released_ids[alike[:, :-1]].argsort(dim=1))
        chosen = rearrange(bank[torch.cat([by_id, alike[:, -1:]], dim=1)], "B k (h d) -> B h k d", h=self.num_heads)
        keys = rearrange(informed, "B T (h d) -> B h T d", h=self.num_heads)
        shares = (chosen @ keys.transpose(-2, -1) / chosen.shape[-1] ** 0.5).softmax(dim=-1)
        steps = torch.arange(self.top_k, device=shares.device)
        weights = self.distance_weights[:, (steps[:, None] - steps).abs()]
        waves = torch.cat([weights[:3].cos(), weights[3:6].sin(), weights[6:9].cos(), weights[9:].sin()])
        gate = self.blend_gate.sigmoid()
        read = (gate * shares + (1 - gate) * waves).to(chosen.dtype) @ chosen
        # Reshaped from heads, steps, numbers to steps, numbers, without a swap of heads and steps before.
        return self.out(read.reshape(informed.shape))

    def extend(
        self,
        frames: Float[Tensor, "B T D"],
        prototypes: Float[Tensor, "A D"],
        mask: Bool[Tensor, "B T"] | None = None,
        seen: SeenFrames | None = None,
    ) -> tuple[Float[Tensor, "B T D"], SeenFrames]:
        """See `_PrototypeAttention.extend`.

        Raises:
            ValueError: Always.
        """
        raise ValueError(NO_STREAM)


def build_prototype_attention(
    config: PrototypeAttentionConfig, *, width: int, num_actions: int, max_steps: int
) -> PrototypeAttention | ReleasedPrototypeAttention:
    """Build the form that `config.mode` asks for.

    Raises:
        ConfigError: If the mode is unknown, or the width cannot be split into heads.
    """
    if width % config.num_heads:
        raise ConfigError(
            f"model.width={width} must be a multiple of model.prototype_attention.num_heads={config.num_heads}"
        )
    match config.mode:
        case "paper":
            return PrototypeAttention(config, width=width, num_actions=num_actions)
        case "released":
            return ReleasedPrototypeAttention(config, width=width, num_actions=num_actions, max_steps=max_steps)
        case "original":
            return OriginalPrototypeAttention(config, width=width, num_actions=num_actions, max_steps=max_steps)
        case other:
            raise ConfigError(f"prototype_attention.mode={other!r} is unknown; choose paper, released or original")


def _num_attended(config: PrototypeAttentionConfig, num_actions: int) -> int:
    if not 0 < config.share <= 1:
        raise ConfigError(f"prototype_attention.share must be in (0, 1], got {config.share}")
    num_attended = config.num_prototypes or max(1, round(config.share * num_actions))
    if not 0 < num_attended <= num_actions or not 0 <= config.top_k <= num_attended:
        raise ConfigError(
            f"prototype_attention reads {num_attended} prototypes and of these the top {config.top_k}, but there are "
            f"{num_actions} actions; lower num_prototypes or top_k"
        )
    return num_attended
