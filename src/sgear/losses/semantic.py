"""L_sem and L_reg: language gives the predicted feature its geometry among the prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sgear.losses.masked import masked_mean
from sgear.segments import UNKNOWN_ACTION


def semantic_loss(
    similarity: Float[Tensor, "*batch A"],
    targets: Int[Tensor, "*batch"],
    relations: Float[Tensor, "A A"],
    *,
    weights: Float[Tensor, "*batch"] | None = None,
    among: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Compare a feature's cosines to the visual prototypes with its label's cosines to the language prototypes.

    Both vectors are divided by their L1 norms; the loss is the sum of absolute differences, averaged over the known
    targets: 0 where the geometry is reproduced, at most 2. Without the norms, as the paper words it, a sum over
    thousands of classes would dwarf every other term.

    Args:
        similarity: Cosine of each feature to each visual prototype.
        targets: Classes in [0, A), or -1 for unknown.
        relations: Cosine of each language prototype (row) to each other.
        weights: Weight of each target, at least 0. Default: 1.
        among: Over which targets the mean is taken, see `masked_mean`.

    Source:
        S-GEAR (arXiv:2407.02309), semantic loss, L1-normalised as in the released code.
    """
    ours = F.normalize(similarity.float(), p=1, dim=-1)
    theirs = F.normalize(relations[targets.clamp(min=0)].float(), p=1, dim=-1)
    return masked_mean((ours - theirs).abs().sum(dim=-1), targets != UNKNOWN_ACTION, weights, among=among)


def regularization_loss(
    features: Float[Tensor, "B D"],
    targets: Int[Tensor, " B"],
    prototypes: Float[Tensor, "A D"],
    *,
    detach_target: bool = True,
    weights: Float[Tensor, " B"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean squared distance of a feature to its label's prototype, both of unit length: in [0, 4].

    Args:
        features: Anticipated features.
        targets: Classes in [0, A), or -1 for unknown.
        prototypes: Visual prototypes.
        detach_target: The feature moves, not the prototype, as in the released code.
        weights: Weight of each target, at least 0. Default: 1.
    """
    wanted = prototypes[targets.clamp(min=0)].float()
    cosine = torch.cosine_similarity(features.float(), wanted.detach() if detach_target else wanted, dim=-1)
    return masked_mean(2 * (1 - cosine), targets != UNKNOWN_ACTION, weights)
