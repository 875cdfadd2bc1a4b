"""PA, prototype attention: each frame asks the bank of visual prototypes which actions it resembles.

Two forms. `PrototypeAttention` follows the paper. `ReleasedPrototypeAttention` keeps what the released code does
besides (roles, choice of prototypes, Toeplitz term), with its faults corrected; see there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.causal_decoder import causal_mask
from sgear.models.config import PrototypeAttentionConfig
from sgear.models.window import check_num_steps

_HEADS_PER_WAVE = 3


def nearest_prototypes(
    frames: Float[Tensor, "B T D"], prototypes: Float[Tensor, "A D"], exists: Bool[Tensor, "B T"], *, k: int
) -> Int[Tensor, "B k"]:
    """Return the k prototypes most like the mean of each clip's real frames, the likest first.

    Each clip chooses for itself; the released code's index mixed the clips of a batch.
    """
    mean = (frames * exists[..., None]).sum(dim=1)
    similarity = F.normalize(mean, dim=-1) @ F.normalize(prototypes, dim=-1).T
    return similarity.topk(k, dim=-1).indices


class PrototypeAttention(nn.Module):
    """Multi-head attention with frames as queries and prototypes as keys and values.

    Args:
        config: Heads, which prototypes take part, gradient route.
        width: Width D of frames and prototypes.
        num_actions: Number of prototypes A.

    Raises:
        ConfigError: If more prototypes are asked for than there are, or none.

    Source:
        S-GEAR (arXiv:2407.02309), prototype attention in the paper's roles. The paper also reports a share of 10 % of
        the prototypes and does not say which: here a random subset, drawn once from `subset_seed` and saved with the
        weights. Chosen at random, it neither needs counts of the training set nor leaves out the rare classes.
    """

    subset: Tensor | None

    def __init__(self, config: PrototypeAttentionConfig, *, width: int, num_actions: int) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.top_k = config.top_k
        self.detach_prototypes = config.detach_prototypes
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        num_asked = _num_asked(config, num_actions)
        subset = None
        if num_asked < num_actions:
            generator = torch.Generator().manual_seed(config.subset_seed)
            subset = torch.randperm(num_actions, generator=generator)[:num_asked].sort().values
        self.register_buffer("subset", subset)

    @property
    def is_causal(self) -> bool:
        """Whether the output of a step is independent of later steps."""
        return self.top_k == 0

    def forward(
        self,
        frames: Float[Tensor, "B T D"],
        prototypes: Float[Tensor, "A D"],
        exists: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Return for each frame a mix of prototypes; `exists` matters for the choice of `top_k` only."""
        bank = prototypes.detach() if self.detach_prototypes else prototypes
        if self.subset is not None:
            bank = bank[self.subset]
        if self.top_k:
            return self._ask(frames, bank[nearest_prototypes(frames, bank, _all(frames, exists), k=self.top_k)])
        # With one bank for all clips, their frames are queries of one attention.
        read = self._ask(rearrange(frames, "B T D -> 1 (B T) D"), bank[None])
        return rearrange(read, "1 (B T) D -> B T D", B=frames.shape[0])

    def _ask(self, frames: Float[Tensor, "C M D"], bank: Float[Tensor, "C P D"]) -> Float[Tensor, "C M D"]:
        query = rearrange(self.query(frames), "C M (h d) -> C h M d", h=self.num_heads)
        key, value = rearrange(self.key_value(bank), "C P (two h d) -> two C h P d", two=2, h=self.num_heads)
        read = F.scaled_dot_product_attention(query, key, value)
        return self.out(rearrange(read, "C h M d -> C M (h d)"))


class ReleasedPrototypeAttention(nn.Module):
    """Prototype attention in the roles of the released code.

    The k prototypes nearest to the clip mean are queries and values, in the order of their rank; frames are keys. Row
    i of the attention belongs to rank i and is added to frame i. Where there are fewer prototypes than frames, ranks
    start again. Each head's attention is blended with a map that depends on the distance of two steps alone.

    Corrected: the choice of a clip does not depend on its batch mates; heads are merged over the head axis; row i
    reads frames up to i alone; the distance map is causal, its rows sum to 1, and it fits every length up to the
    built one; the cosine and sine heads follow a rule instead of fixed slices.

    Not causal, as in the release: the choice of prototypes reads the mean of the whole clip, so a later frame can
    change which prototypes an earlier one reads. Streams therefore refuse this form.

    Args:
        config: Heads, number of prototypes, Toeplitz term, gradient route.
        width: Width D of frames and prototypes.
        num_actions: Number of prototypes A.
        max_steps: Longest clip.

    Raises:
        ConfigError: If more prototypes are asked for than there are.

    Source:
        ADiko1997/S-GEAR, models/attention.py:532-651, models/common.py:100-145, models/base_model_ts.py:331-339.
    """

    is_causal = False

    def __init__(self, config: PrototypeAttentionConfig, *, width: int, num_actions: int, max_steps: int) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.detach_prototypes = config.detach_prototypes
        self.top_k = config.top_k
        _num_asked(config, num_actions)
        self.out = nn.Linear(width, width)
        self.distance_weights = None
        self.blend_gate = None
        if config.toeplitz:
            self.distance_weights = nn.Parameter(torch.full((config.num_heads, max_steps), 0.5))
            self.blend_gate = nn.Parameter(torch.tensor(0.5))

    def forward(
        self,
        frames: Float[Tensor, "B T D"],
        prototypes: Float[Tensor, "A D"],
        exists: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Return for each frame a mix of the clip's prototypes."""
        num_steps = frames.shape[1]
        bank = prototypes.detach() if self.detach_prototypes else prototypes
        real = _all(frames, exists)
        num_chosen = self.top_k or min(num_steps, len(bank))
        chosen = nearest_prototypes(frames, bank, real, k=num_chosen)
        ranks = torch.arange(num_steps, device=frames.device) % num_chosen
        asking = rearrange(bank[chosen[:, ranks]], "B T (h d) -> B h T d", h=self.num_heads)
        key = rearrange(frames, "B T (h d) -> B h T d", h=self.num_heads)
        visible = causal_mask(real)
        scores = asking @ key.transpose(-2, -1) / key.shape[-1] ** 0.5
        shares = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)
        if self.blend_gate is not None:
            gate = self.blend_gate.sigmoid()
            shares = gate * shares + (1 - gate) * self._distance_shares(visible)
        return self.out(rearrange(shares.to(asking.dtype) @ asking, "B h T d -> B T (h d)"))

    def _distance_shares(self, visible: Bool[Tensor, "B 1 T T"]) -> Float[Tensor, "B h T T"]:
        assert self.distance_weights is not None
        num_steps = visible.shape[-1]
        check_num_steps(num_steps, self.distance_weights.shape[1])
        steps = torch.arange(num_steps, device=visible.device)
        weights = self.distance_weights[:, (steps[:, None] - steps).clamp(min=0)]
        is_cosine = torch.arange(self.num_heads, device=visible.device) // _HEADS_PER_WAVE % 2 == 0
        waves = torch.where(is_cosine[:, None, None], weights.cos(), weights.sin())
        return waves.expand(visible.shape[0], -1, -1, -1).masked_fill(~visible, float("-inf")).softmax(dim=-1)


AnyPrototypeAttention = PrototypeAttention | ReleasedPrototypeAttention


def build_prototype_attention(
    config: PrototypeAttentionConfig, *, width: int, num_actions: int, max_steps: int
) -> AnyPrototypeAttention:
    """Build the form that `config.mode` asks for.

    Raises:
        ConfigError: If the mode is unknown.
        ValueError: If the width cannot be split into heads.
    """
    if width % config.num_heads:
        raise ValueError(f"model.width {width} must be a multiple of prototype_attention.num_heads {config.num_heads}")
    match config.mode:
        case "paper":
            return PrototypeAttention(config, width=width, num_actions=num_actions)
        case "released":
            return ReleasedPrototypeAttention(config, width=width, num_actions=num_actions, max_steps=max_steps)
        case other:
            raise ConfigError(f"prototype_attention.mode={other!r} is unknown; choose paper or released")


def _all(frames: Float[Tensor, "B T D"], exists: Bool[Tensor, "B T"] | None) -> Bool[Tensor, "B T"]:
    return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device) if exists is None else exists


def _num_asked(config: PrototypeAttentionConfig, num_actions: int) -> int:
    if not 0 < config.share <= 1:
        raise ConfigError(f"prototype_attention.share must be in (0, 1], got {config.share}")
    num_asked = config.num_prototypes or max(1, round(config.share * num_actions))
    if not 0 < num_asked <= num_actions or not 0 <= config.top_k <= num_asked:
        raise ConfigError(
            f"prototype_attention asks for {num_asked} prototypes and of these for the top {config.top_k}, but there "
            f"are {num_actions} actions; lower num_prototypes or top_k"
        )
    return num_asked
