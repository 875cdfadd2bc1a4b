"""L_cls and L_past: cross-entropy that ignores unknown labels."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor

from sgear.segments import UNKNOWN_ACTION


def classification_loss(
    logits: Float[Tensor, "*batch A"], targets: Int[Tensor, "*batch"], *, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy over the known targets; 0 where none is known.

    Args:
        logits: Scores.
        targets: Classes in [0, A), or -1 for unknown.
        label_smoothing: Probability mass spread over all classes.
    """
    flat_targets = targets.reshape(-1)
    total = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(),
        flat_targets,
        ignore_index=UNKNOWN_ACTION,
        label_smoothing=label_smoothing,
        reduction="sum",
    )
    return total / (flat_targets != UNKNOWN_ACTION).sum().clamp(min=1)
