"""L_cls and L_past: cross-entropy that ignores unknown labels."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor

from sgear.losses.masked import masked_mean
from sgear.segments import UNKNOWN_ACTION


def classification_loss(
    logits: Float[Tensor, "*batch A"],
    targets: Int[Tensor, "*batch"],
    *,
    label_smoothing: float = 0.0,
    weights: Float[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy over the known targets; 0 where none is known.

    Args:
        logits: Scores.
        targets: Classes in [0, A), or -1 for unknown.
        label_smoothing: Probability mass spread over all classes.
        weights: Weight of each target, at least 0. Default: 1.
    """
    flat_targets = targets.reshape(-1)
    losses = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(),
        flat_targets,
        ignore_index=UNKNOWN_ACTION,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    flat_weights = None if weights is None else weights.reshape(-1)
    return masked_mean(losses, flat_targets != UNKNOWN_ACTION, flat_weights)


def soft_classification_loss(
    logits: Float[Tensor, "*batch A"], targets: Float[Tensor, "*batch A"], *, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Return the cross-entropy against class probabilities, averaged over their mass.

    Args:
        logits: Scores.
        targets: Probabilities of each sample. A row may sum to less than 1, down to 0 for an unknown label: what is
            missing is not known and counts for nothing.
        label_smoothing: Share of each row's mass that is spread over all classes.
    """
    mass = targets.sum(dim=-1)
    smoothed = (1 - label_smoothing) * targets + label_smoothing * mass[..., None] / targets.shape[-1]
    losses = -(smoothed * logits.float().log_softmax(dim=-1)).sum(dim=-1)
    # Each loss holds its mass already; the mean divides by the mass once.
    share = mass.clamp(min=1e-12)
    return masked_mean(losses / share, mass > 0, mass)
