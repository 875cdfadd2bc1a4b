"""L_feat: the predicted next feature against the observed one."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from sgear.losses.masked import masked_mean


def feature_loss(
    predicted: Float[Tensor, "B T D"],
    observed: Float[Tensor, "B T D"],
    exists: Bool[Tensor, "B T"],
    *,
    detach_target: bool = False,
) -> Float[Tensor, ""]:
    """Return the mean squared error between step t's prediction and step t + 1, where both exist.

    Args:
        predicted: Decoder output.
        observed: Decoder input.
        exists: Which steps are real.
        detach_target: Keep the gradient away from the observed feature. The released code does not.
    """
    target = observed[:, 1:]
    if detach_target:
        target = target.detach()
    errors = (predicted[:, :-1] - target).float().square().mean(dim=-1)
    return masked_mean(errors, exists[:, 1:] & exists[:, :-1])
