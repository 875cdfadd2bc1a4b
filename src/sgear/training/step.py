"""Model and objective as one module: the unit that is wrapped for several processes."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from sgear.data.batch import Batch
from sgear.losses import Objective
from sgear.losses.mixup import draw_mix, mix_clips
from sgear.models import AnticipationModel
from sgear.video.transforms import finish_clip


class TrainStep(nn.Module):
    """Compute the loss terms of a batch."""

    def __init__(self, model: AnticipationModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return each active loss term and `total`."""
        exists, mix = batch["exists"], None
        clip = finish_clip(batch["clip"], batch["colour"], exists)
        if self.training and self.objective.config.mixup:
            mix = draw_mix(exists, alpha=self.objective.config.mixup)
            clip = mix_clips(clip, mix)
        output = self.model(clip, exists)
        return self.objective(output, batch["target"], batch["step_labels"], exists, batch["next_labels"], mix)
