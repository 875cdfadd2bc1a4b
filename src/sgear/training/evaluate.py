"""Model and data -> scores of every segment, exactly once; and which clips could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor

from sgear.data import WindowDataset
from sgear.data.dataset import Batch
from sgear.data.loader import make_loader, whole_batches
from sgear.errors import RunError
from sgear.models import AnticipationModel
from sgear.video.transforms import finish_clip


class SkippedClips:
    """The list, filled batch by batch.

    Args:
        uids: Segment of each row of the data set.
        known: What was on the list before, e.g. when an earlier process of this run was stopped.
    """

    def __init__(self, uids: Sequence[str], known: Mapping[str, str] | None = None) -> None:
        self._uids = uids
        self._reasons = dict(known or {})

    def add(self, batch: Batch) -> None:
        """Take up the unreadable clips of a batch; of a clip that is met again the first reason stays."""
        if not any(batch["unreadable"]):
            return
        for row, reason in zip(batch["row"].tolist(), batch["unreadable"], strict=True):
            if reason:
                self.add_one(int(row), reason)

    def add_one(self, row: int, reason: str) -> None:
        """Take up one clip that cannot be read."""
        self._reasons.setdefault(self._uids[row], reason)

    def gathered(self) -> dict[str, str]:
        """Return the reasons by uid, in the order of the uids; to be called in all processes at once."""
        # What this process knows stays: it is the first reason that was met.
        for reasons in gather_object([self._reasons]):
            self._reasons = {**reasons, **self._reasons}
        return {uid: self._reasons[uid] for uid in self._uids if uid in self._reasons}

    def require_some_read(self, *, what: str) -> None:
        """Hold that not everything is on the list; call `gathered` before.

        Raises:
            RunError: If there are clips and all of them are; gives the first reason.
        """
        if self._uids and len(self._reasons) == len(self._uids):
            uid = self._uids[0]
            raise RunError(
                f"none of the {len(self._uids)} {what} can be read, first {uid!r}: {self._reasons[uid]}. "
                "source.on_error=skip goes on without some of them, but nothing is left here: check the data root"
            )


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
            output = model(finish_clip(batch["clip"], batch["colour"], batch["mask"]), batch["mask"])
        made = {name: getattr(output, name) for name in kept}
        named = {name: values.float() for name, values in made.items() if values is not None}
        # The last batch of several processes is filled up with samples of its start; this drops them again.
        row, gathered = accelerator.gather_for_metrics((batch["row"], named))
        rows.append(row.cpu())
        for name, values in gathered.items():
            kept[name].append(values.cpu())
    model.train(was_training)
    # Processes take turns in the rows, so what they gathered is in another order than the data set.
    order = torch.cat(rows).argsort()
    assert torch.equal(torch.cat(rows)[order], torch.arange(len(dataset))), "each sample is evaluated exactly once"
    reasons = skipped.gathered()
    skipped.require_some_read(what="clips to evaluate")
    unreadable = {row: reasons[uid] for row, uid in enumerate(dataset.segments.uids) if uid in reasons}
    tensors = {name: torch.cat(parts)[order] for name, parts in kept.items() if parts}
    return Outputs(**tensors, unreadable=unreadable)
