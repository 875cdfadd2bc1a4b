"""Training states that survive a kill: written aside, renamed when whole."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelerate import Accelerator

from sgear.errors import RunError
from sgear.training.run import read_json, write_json

_NAME = re.compile(r"step-(\d{8})")
_KEEP = 2
_PROCESSES = "num_processes"


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    Args:
        epoch: The next epoch to run.
        batch: The next batch of it.
        step: Optimiser steps done.
        skipped: Why a clip could not be read, by uid, in all epochs so far.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return whole checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def save_checkpoint(accelerator: Accelerator, folder: Path, progress: Progress) -> None:
    """Save everything that the next step depends on, and drop all but the newest two."""
    final = folder / f"step-{progress.step:08d}"
    part = folder / f"{final.name}.part"
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(part))
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    write_json(part / "progress.json", {**asdict(progress), _PROCESSES: accelerator.num_processes})
    if final.exists():
        shutil.rmtree(final)
    os.replace(part, final)
    for old in list_checkpoints(folder)[:-_KEEP]:
        shutil.rmtree(old)


def load_newest_checkpoint(accelerator: Accelerator, folder: Path) -> Progress:
    """Restore the newest checkpoint.

    Raises:
        RunError: If there is none, or it was saved by another number of processes.
    """
    found = list_checkpoints(folder)
    if not found:
        raise RunError(f"{folder}: no checkpoint to resume from; start without runtime.resume=true")
    told, now = read_json(found[-1] / "progress.json"), accelerator.num_processes
    # Checkpoints that do not say it were written before it was noted.
    before = told.pop(_PROCESSES, now)
    if before != now:
        # Batches, steps and the schedule of the learning rate count what all processes do together.
        raise RunError(
            f"{found[-1]}: was saved by {before} processes, now there are {now}; resume with {before} "
            f"(torchrun --nproc_per_node {before})"
        )
    accelerator.load_state(str(found[-1]))
    return Progress(**told)
