"""Which feature is judged against the action of an observed step."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def features_for_past(
    observed: Float[Tensor, "B T D"],
    predicted: Float[Tensor, "B T D"],
    exists: Bool[Tensor, "B T"] | None,
) -> Float[Tensor, "B T D"]:
    """Return for each step the feature that was predicted for it.

    A step with nothing before it (the first one, or the first that exists) is judged by its own feature.

    Source:
        AVT (arXiv:2106.02036), section 3.3: past = [observed_0, predicted_0, ..., predicted_{T-2}].
    """
    shifted = torch.cat([observed[:, :1], predicted[:, :-1]], dim=1)
    if exists is None:
        return shifted
    has_past = torch.cat([torch.zeros_like(exists[:, :1]), exists[:, :-1]], dim=1)
    return torch.where(has_past[..., None], shifted, observed)
