"""From a predicted feature to action scores: AVT's linear head and S-GEAR's prototype mix."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from sgear.models.config import HeadConfig


def cosine_similarity(
    features: Float[Tensor, "*batch D"], prototypes: Float[Tensor, "A D"]
) -> Float[Tensor, "*batch A"]:
    """Return the cosine of each feature to each prototype: its relative representation."""
    return F.normalize(features, dim=-1) @ F.normalize(prototypes, dim=-1).T


class PrototypeMix(nn.Module):
    """Blend a feature with its soft nearest prototypes.

    zbar = sum_k softmax_k(cos(z, rho_k) / temperature) rho_k, and the result is g z + (1 - g) zbar with a learned
    gate g = sigmoid(gate). Prototype values are detached, similarities are not, as on the released RGB path.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        if config.temperature <= 0:
            raise ValueError(f"head.temperature must be positive, got {config.temperature}")
        self.gate = nn.Parameter(torch.tensor(config.gate))
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(config.temperature)), requires_grad=config.learn_temperature
        )

    def forward(
        self,
        features: Float[Tensor, "*batch D"],
        similarity: Float[Tensor, "*batch A"],
        prototypes: Float[Tensor, "A D"],
    ) -> Float[Tensor, "*batch D"]:
        """Return mixed features of the same shape."""
        read_out = (similarity / self.log_temperature.exp()).softmax(dim=-1) @ prototypes.detach()
        gate = self.gate.sigmoid()
        return gate * features + (1 - gate) * read_out


class ActionClassifier(nn.Module):
    """Dropout and one linear layer."""

    def __init__(self, width: int, num_actions: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, num_actions)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch A"]:
        """Return action scores."""
        return self.linear(self.dropout(features))
