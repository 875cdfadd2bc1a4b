"""`Sample` and `Batch`: the only structures that leave the loader."""

from __future__ import annotations

from typing import TypedDict

import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor


class Sample(TypedDict):
    """One clip: its steps [T ...], which are real, the action of each and after each, the target, and its row.

    Steps are uint8 frames or float32 features; `colour` says how frames become what a model reads, see
    `sgear.video.transforms.finish_clip`.
    `unreadable` says why the clip could not be read, and is empty otherwise; such a clip has no real step and no label.
    """

    clip: Tensor
    colour: Float32[Tensor, "4 3"]
    exists: Bool[Tensor, " T"]
    step_labels: Int[Tensor, " T"]
    next_labels: Int[Tensor, " T"]
    target: Int[Tensor, ""]
    row: Int[Tensor, ""]
    unreadable: str


class Batch(TypedDict):
    """Stacked samples; `clip` is [B T ...] as it left the loader, `finish_clip` makes it the model's."""

    clip: Tensor
    colour: Float32[Tensor, "B 4 3"]
    exists: Bool[Tensor, "B T"]
    step_labels: Int[Tensor, "B T"]
    next_labels: Int[Tensor, "B T"]
    target: Int[Tensor, " B"]
    row: Int[Tensor, " B"]
    unreadable: list[str]


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of equal length."""
    return Batch(
        clip=torch.stack([sample["clip"] for sample in samples]),
        colour=torch.stack([sample["colour"] for sample in samples]),
        exists=torch.stack([sample["exists"] for sample in samples]),
        step_labels=torch.stack([sample["step_labels"] for sample in samples]),
        next_labels=torch.stack([sample["next_labels"] for sample in samples]),
        target=torch.stack([sample["target"] for sample in samples]),
        row=torch.stack([sample["row"] for sample in samples]),
        unreadable=[sample["unreadable"] for sample in samples],
    )
