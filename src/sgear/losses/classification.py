"""L_cls and L_past: cross-entropy that ignores unknown labels."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sgear.losses.masked import masked_mean
from sgear.segments import UNKNOWN_ACTION


def classification_loss(
    logits: Float[Tensor, "*batch A"],
    targets: Int[Tensor, "*batch"],
    *,
    label_smoothing: float = 0.0,
    weights: Float[Tensor, "*batch"] | None = None,
    among: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy over the known targets; 0 where none is known.

    Args:
        logits: Scores.
        targets: Classes in [0, A), or -1 for unknown.
        label_smoothing: Probability mass spread over all classes.
        weights: Weight of each target, at least 0. Default: 1.
        among: Over which targets the mean is taken, see `masked_mean`.
    """
    flat_targets = targets.reshape(-1)
    losses = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(),
        flat_targets,
        ignore_index=UNKNOWN_ACTION,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    return masked_mean(losses.reshape(targets.shape), targets != UNKNOWN_ACTION, weights, among=among)
