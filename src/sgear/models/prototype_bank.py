"""The bank of visual prototypes: one learned vector per action."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sgear.errors import PrototypeError


class PrototypeBank(nn.Module):
    """Visual prototypes [A D], learned with the rest of the model.

    They start at random; `set_visual` replaces them by the class means of a recognition run.
    """

    def __init__(self, num_actions: int, width: int) -> None:
        super().__init__()
        self.visual = nn.Parameter(torch.randn(num_actions, width) / width**0.5)

    @torch.no_grad()
    def set_visual(self, prototypes: Float[Tensor, "A D"]) -> None:
        """Copy prototypes into the bank.

        Raises:
            PrototypeError: If number or width differ; gives both sides.
        """
        if prototypes.shape != self.visual.shape:
            raise PrototypeError(
                f"visual prototypes of shape {tuple(prototypes.shape)} do not fit a model with "
                f"{self.visual.shape[0]} actions and width {self.visual.shape[1]}; compute them with this model's "
                "recognition run"
            )
        self.visual.copy_(prototypes)
