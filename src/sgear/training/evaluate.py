"""Model and data -> scores of every segment, exactly once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from sgear.data import WindowDataset
from sgear.data.loading import make_loader, whole_batches
from sgear.models import AnticipationModel
from sgear.training.skipping import SkippedClips
from sgear.video.transforms import finish_clip


@dataclass(frozen=True)
class Outputs:
    """What evaluation keeps of each sample, in the order of the data set; None where a model has no such head.

    `unreadable` says of each row that could not be read why; its numbers mean nothing.
    """

    logits: Float[Tensor, "M A"]
    aggregated: Float[Tensor, "M D"]
    verb_logits: Float[Tensor, "M V"] | None = None
    noun_logits: Float[Tensor, "M N"] | None = None
    unreadable: dict[int, str] = field(default_factory=dict)


@torch.inference_mode()
def run_model(
    model: AnticipationModel,
    dataset: WindowDataset,
    accelerator: Accelerator,
    *,
    batch_size: int,
    num_workers: int = 0,
) -> Outputs:
    """Run a model over a whole data set.

    Args:
        model: In any mode; it is evaluated in evaluation mode and left as it was.
        dataset: Samples without augmentation.
        accelerator: Where to run; several processes share the work.
        batch_size: Clips per step.
        num_workers: Loader processes.

    Returns:
        Outputs of every sample, in the order of the data set.

    Raises:
        SgearError: If a clip cannot be read and the data set stops at errors.
        RunError: If it goes on at errors and no clip at all can be read.
    """
    # Its own generator: an evaluation between two epochs must not move the dropout of the next.
    loader = accelerator.prepare_data_loader(
        make_loader(dataset, batch_size=batch_size, num_workers=num_workers, generator=torch.Generator())
    )
    was_training = model.training
    model.eval()
    rows: list[Tensor] = []
    kept: dict[str, list[Tensor]] = {item.name: [] for item in fields(Outputs) if item.name != "unreadable"}
    skipped = SkippedClips(dataset.segments.uids)
    for batch in whole_batches(loader):
        skipped.add(batch)
        with accelerator.autocast():
            output = model(finish_clip(batch["clip"], batch["colour"], batch["exists"]), batch["exists"])
        made = {name: getattr(output, name) for name in kept}
        named = {name: values.float() for name, values in made.items() if values is not None}
        row, gathered = accelerator.gather_for_metrics((batch["row"], named))
        rows.append(row.cpu())
        for name, values in gathered.items():
            kept[name].append(values.cpu())
    model.train(was_training)
    order = torch.cat(rows).argsort()
    assert torch.equal(torch.cat(rows)[order], torch.arange(len(dataset))), "each sample is evaluated exactly once"
    reasons = skipped.gathered()
    skipped.require_some_read(what="clips to evaluate")
    unreadable = {row: reasons[uid] for row, uid in enumerate(dataset.segments.uids) if uid in reasons}
    tensors = {name: torch.cat(parts)[order] for name, parts in kept.items() if parts}
    return Outputs(**tensors, unreadable=unreadable)
