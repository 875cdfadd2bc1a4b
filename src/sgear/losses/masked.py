"""The mean over what is known: how every loss treats missing labels and the weights of mixed ones."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(
    values: Float[Tensor, "*batch"],
    known: Bool[Tensor, "*batch"],
    weights: Float[Tensor, "*batch"] | None = None,
    *,
    among: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the weighted mean of the known values; 0, without gradient, where none is known.

    Args:
        values: One finite value per sample.
        known: Which of them count.
        weights: Weight of each, at least 0. Default: 1.
        among: Over which samples the mean is taken; those that are not known count 0. Default: the known ones.
    """
    masses = torch.ones_like(values) if weights is None else weights.to(values.dtype)
    total = (masses * (known if among is None else among)).sum()
    return (values * masses * known).sum() / torch.where(total > 0, total, torch.ones_like(total))
