"""A trained network as one graph, for any number of clips, that runs without this package."""

from __future__ import annotations

from dataclasses import fields

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from sgear.models.base import AnticipationOutput


class _NamedScores(nn.Module):
    """A model whose output is a dict of the tensors it made: graphs know no dataclasses."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clip: Tensor, exists: Bool[Tensor, "B T"]) -> dict[str, Tensor]:
        output = self.model(clip, exists)
        made = {item.name: getattr(output, item.name) for item in fields(AnticipationOutput)}
        return {name: tensor for name, tensor in made.items() if tensor is not None}


def export_model(model: nn.Module, clip: Tensor) -> torch.export.ExportedProgram:
    """Export a model to a graph with a free number of clips and a fixed number of steps.

    Args:
        model: In evaluation mode.
        clip: An example of at least two clips; its steps and sizes are fixed in the graph.

    Returns:
        A program of (clip, exists) -> dict of the tensors of `AnticipationOutput`; see `torch.export.save`.

    Raises:
        ValueError: If the model is in training mode or the example holds a single clip.
    """
    if model.training or len(clip) < 2:
        raise ValueError(
            f"export needs a model in evaluation mode and an example of at least 2 clips, got training="
            f"{model.training} and {len(clip)}; a single clip would fix their number"
        )
    batch = torch.export.Dim("clips")
    exists = torch.ones(clip.shape[:2], dtype=torch.bool, device=clip.device)
    with torch.no_grad():
        return torch.export.export(_NamedScores(model), (clip, exists), dynamic_shapes=({0: batch}, {0: batch}))
