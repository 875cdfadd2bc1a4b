"""L_sem and L_reg: language gives the predicted feature its geometry among the prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor

from sgear.segments import UNKNOWN_ACTION


def semantic_loss(
    similarity: Float[Tensor, "*batch A"],
    targets: Int[Tensor, "*batch"],
    relations: Float[Tensor, "A A"],
) -> Float[Tensor, ""]:
    """Compare a feature's cosines to the visual prototypes with its label's cosines to the language prototypes.

    Both vectors are divided by their L1 norms; the loss is the sum of absolute differences, averaged over the known
    targets: 0 where the geometry is reproduced, at most 2.

    Args:
        similarity: Cosine of each feature to each visual prototype.
        targets: Classes in [0, A), or -1 for unknown.
        relations: Cosine of each language prototype (row) to each other.

    Source:
        S-GEAR (arXiv:2407.02309), semantic loss, L1-normalised as in the released code.
    """
    known = targets != UNKNOWN_ACTION
    ours = F.normalize(similarity[known].float(), p=1, dim=-1)
    theirs = F.normalize(relations[targets[known]].float(), p=1, dim=-1)
    return (ours - theirs).abs().sum() / known.sum().clamp(min=1)


def regularization_loss(
    features: Float[Tensor, "B D"], targets: Int[Tensor, " B"], prototypes: Float[Tensor, "A D"]
) -> Float[Tensor, ""]:
    """Return the mean squared distance of a feature to its label's prototype, both of unit length: in [0, 4].

    The prototype is detached: the feature moves, not the prototype.
    """
    known = targets != UNKNOWN_ACTION
    cosine = torch.cosine_similarity(features[known].float(), prototypes[targets[known]].detach().float(), dim=-1)
    return (2 * (1 - cosine)).sum() / known.sum().clamp(min=1)
