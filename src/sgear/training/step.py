"""Model and objective as one module: the unit that is wrapped for several processes."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from sgear.data.batch import Batch
from sgear.losses import Objective
from sgear.models import AnticipationModel


class TrainStep(nn.Module):
    """Compute the loss terms of a batch."""

    def __init__(self, model: AnticipationModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return each active loss term and `total`."""
        output = self.model(batch["clip"], batch["exists"])
        return self.objective(output, batch["target"], batch["step_labels"], batch["exists"], batch["next_labels"])
