"""Cosines between prototypes: the geometry that language lends to vision."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor


def cosine_relations(prototypes: Float[Tensor, "A D"]) -> Float[Tensor, "A A"]:
    """Return the cosine of each prototype to each other one; symmetric with ones on the diagonal."""
    unit = F.normalize(prototypes.double(), dim=-1)
    return (unit @ unit.T).float()
