"""Batches from loader processes: an error there arrives here as it was, in one line.

torch raises the error of a worker anew with the worker's traceback as its message. Here an error that the user can
mend travels as a value in the place of its batch, and is raised where the batch is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sgear.data.dataset import Batch, Sample, WindowDataset, collate
from sgear.errors import SgearError
from sgear.stopping import serve_to_the_end


@dataclass(frozen=True)
class Failure:
    """An error in the place of a sample or a batch."""

    error: SgearError


class _Guarded(Dataset[Sample | Failure]):
    """Samples of a data set, with errors as values."""

    def __init__(self, samples: WindowDataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample | Failure:
        try:
            return self.samples[index]
        except SgearError as err:
            return Failure(err)


def _collate(samples: Sequence[Sample | Failure]) -> Batch | Failure:
    """Stack samples; the first failure takes the place of the batch."""
    whole: list[Sample] = []
    for sample in samples:
        if isinstance(sample, Failure):
            return sample
        whole.append(sample)
    return collate(whole)


def make_loader(
    samples: WindowDataset,
    *,
    batch_size: int,
    num_workers: int,
    sampler: Sampler[int] | None = None,
    generator: torch.Generator | None = None,
) -> DataLoader:
    """Return a loader whose batches are to be passed through `whole_batches`.

    Args:
        samples: The data set.
        batch_size: Clips per batch.
        num_workers: Loader processes, at most one per core; 0 reads in this one.
        sampler: Order. Default: that of the data set.
        generator: Source of the seeds of the workers. Default: torch's global one.
    """
    return DataLoader(
        _Guarded(samples),
        batch_size=batch_size,
        sampler=sampler,
        collate_fn=_collate,
        num_workers=min(num_workers, _num_cores()),
        worker_init_fn=serve_to_the_end,
        generator=generator,
    )


def _num_cores() -> int:
    # A recipe names the processes of a large machine. More than there are cores only make torch warn.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def whole_batches(batches: Iterable[Batch | Failure]) -> Iterator[Batch]:
    """Yield batches.

    Raises:
        SgearError: What the loader met, as it was raised there.
    """
    for batch in batches:
        if isinstance(batch, Failure):
            raise batch.error
        yield batch
