"""Mixup of stored features: a clip and a partner from its batch are blended, and so is their labels.

The targets of a blend are two labels with weights, so every loss that knows weights can be mixed. A label that is not
known, and a step that one of the two clips lacks, take no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """Who is blended with whom; B clips, T steps.

    Args:
        partner: Row of each clip's partner in the batch [B].
        share: Share of the clip itself [B]; its partner has the rest.
        step_share: The same per step [B T]; 1 where a step is real in one of the two clips alone.
    """

    partner: Int[Tensor, " B"]
    share: Float[Tensor, " B"]
    step_share: Float[Tensor, "B T"]


def make_mix(mask: Bool[Tensor, "B T"], partner: Int[Tensor, " B"], share: Float[Tensor, " B"]) -> Mix:
    """Return the mix of given partners and shares; a clip without any real step takes no part, and gives none."""
    # A blend with nothing would be a dimmer clip under a full label.
    both = mask & mask[partner]
    is_seen = mask.any(dim=1)
    share = torch.where(is_seen & is_seen[partner], share, 1.0)
    return Mix(partner=partner, share=share, step_share=torch.where(both, share[:, None], 1.0))


def draw_mix(mask: Bool[Tensor, "B T"], *, alpha: float) -> Mix:
    """Draw a random partner for each clip, and its share from Beta(alpha, alpha).

    Args:
        mask: Which steps are real.
        alpha: Above 0; small values leave most clips almost as they are.

    Source:
        Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018 (arXiv:1710.09412).
    """
    num_clips = len(mask)
    # l ~ Beta(alpha, alpha); [B].
    share = torch.distributions.Beta(alpha, alpha).sample((num_clips,)).to(mask.device)
    return make_mix(mask, torch.randperm(num_clips, device=mask.device), share)


def mix_clips(clip: Float[Tensor, "*batch"], mix: Mix) -> Float[Tensor, "*batch"]:
    """Blend each clip of stored features [B T F] with its partner.

    Raises:
        ValueError: If the clips are not stored features.
    """
    if clip.ndim != 3:
        raise ValueError(f"mixup blends stored features [B T F], got a clip of shape {tuple(clip.shape)}")
    # l x + (1 - l) x_partner, one l for all features of a step.
    share = mix.step_share[..., None]
    return share * clip + (1 - share) * clip[mix.partner]


@dataclass(frozen=True)
class Labels:
    """Labels, with weights where clips are mixed.

    Args:
        targets: Class of each sample [B ...], -1 for unknown. Mixed: [2B ...], the clips' own, then their partners'.
        weights: Weight of each target; None where nothing is mixed.
        among: Over which targets a loss takes its mean, in the same shape; None over the known ones.
    """

    targets: Int[Tensor, "*batch"]
    weights: Float[Tensor, "*batch"] | None = None
    among: Bool[Tensor, "*batch"] | None = None

    def spread(self, scores: Tensor) -> Tensor:
        """Repeat what a model said about each clip for the labels of its partner."""
        return scores if self.weights is None else torch.cat([scores, scores])


def pair_labels(
    targets: Int[Tensor, "B ..."], mix: Mix | None, *, among: Bool[Tensor, "B ..."] | None = None
) -> Labels:
    """Return the hard form of mixed labels: both labels with their weights.

    Args:
        targets: One label per clip [B], or one per step [B S] of the last S steps of the clips.
        mix: How the clips were mixed; None leaves the labels alone.
        among: Over which of the clips' own targets the mean is taken. Default: the known ones.
    """
    if mix is None:
        return Labels(targets, among=among)
    # A clip has one share; a step that one of the two clips lacks belongs to the other alone.
    share = mix.share if targets.ndim == 1 else mix.step_share[:, -targets.shape[1] :]
    return Labels(
        # l CE(y) + (1 - l) CE(y_partner), as two labels with weights: [2B ...].
        torch.cat([targets, targets[mix.partner]]),
        torch.cat([share, 1 - share]),
        None if among is None else torch.cat([among, among[mix.partner]]),
    )
