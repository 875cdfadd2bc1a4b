"""Training states that survive a kill, a full disk and a damaged file: tensors and JSON, nothing that can execute.

    checkpoints/step-00000120/state.safetensors   weights, optimizer and running average, by the names of parameters
                              state.json          place in the data, random states of each process
                              manifest.json       size and SHA-256 of the two

A checkpoint is written aside, flushed to the disk and renamed; the manifest tells a whole one from a damaged one.
Tensors are named as the plain module names them, however it is wrapped for several processes.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from sgear.errors import RunError, WriteError
from sgear.files import flush, replace_durably, unwritable
from sgear.training.run import read_json


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the states of all generators of this process, as JSON takes them."""
    version, words, next_gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    state = {
        "python": [version, list(words), next_gauss],
        "numpy": numpy_state,
        "torch": torch.get_rng_state().tolist(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device).tolist()
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set all generators of this process to what `random_state` returned."""
    version, words, next_gauss = state["python"]
    random.setstate((version, tuple(words), next_gauss))
    key = np.array(state["numpy"]["state"]["key"], dtype=np.uint32)
    np.random.set_state({**state["numpy"], "state": {**state["numpy"]["state"], "key": key}})
    torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(torch.tensor(state["cuda"], dtype=torch.uint8), device)


FORMAT = "sgear-checkpoint-2"
_NAME = re.compile(r"step-(\d{8})")
_KEEP = 2
_TENSORS, _PLACE, _MANIFEST = "state.safetensors", "state.json", "manifest.json"
# What the first format had; it was pickled, so it is known by its names alone.
_OLD_NAMES = ("random_states_0.pkl", "optimizer.bin", "custom_checkpoint_0.pkl")


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    Args:
        epoch: The next epoch to run.
        batch: The next batch of it.
        step: Optimiser steps done; the learning rate follows from it.
        skipped: Why a clip could not be read, by uid, in all epochs so far.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingState:
    """What a step changes, beside the random states.

    Args:
        module: The trained module, not wrapped.
        optimizer: Its optimiser, not wrapped.
        average: Running average of weights, if any.
    """

    module: nn.Module
    optimizer: Optimizer
    average: nn.Module | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it by name, on the CPU."""
        names = self._parameter_names()
        found = {f"model.{name}": tensor for name, tensor in self.module.state_dict().items()}
        for idx, values in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{names[idx]}.{key}": value for key, value in values.items() if value is not None}
        if self.average is not None:
            found |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return _apart({name: tensor.detach().cpu().contiguous() for name, tensor in found.items()})

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` returned.

        Raises:
            RuntimeError: If names or shapes are those of another module or optimiser.
            KeyError: If a part, or a parameter of the optimiser, is unknown.
        """
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
        if self.average is not None:
            parts["average"] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        idx_of = {name: idx for idx, name in enumerate(self._parameter_names())}
        per_parameter: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            parameter, _, key = name.rpartition(".")
            per_parameter.setdefault(idx_of[parameter], {})[key] = tensor
        self.module.load_state_dict(parts["model"], strict=True)
        # Rates and decays come from the configuration, which is that of the run.
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": per_parameter})
        if self.average is not None:
            self.average.load_state_dict(parts["average"], strict=True)

    def _parameter_names(self) -> list[str]:
        """Return the names of the optimiser's parameters, in its order."""
        name_of = {parameter: name for name, parameter in self.module.named_parameters()}
        return [name_of[parameter] for group in self.optimizer.param_groups for parameter in group["params"]]


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory, as tied weights do, which the file format refuses."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        if place in seen and tensor.numel():
            tensors[name] = tensor.clone()
        seen.add(place)
    return tensors


def list_checkpoints(folder: Path) -> list[Path]:
    """Return all checkpoints, whole or not, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


class CheckpointWriter:
    """Writes the checkpoints of a run; a context, at the end of which the last one is on the disk.

    Tensors are written at once. Their hash, the wait for the disk and the renaming happen beside the next steps.

    Args:
        accelerator: The engine; all processes make and use a writer, the main one writes.
        folder: Where checkpoints go.
        state: What they hold.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, state: TrainingState) -> None:
        self._accelerator = accelerator
        self._folder = folder
        self._state = state
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown()
        # What ended the work is not hidden by what it may have caused here.
        if err is None:
            self.wait()

    def save(self, progress: Progress) -> None:
        """Save everything that the next step depends on, and drop all but the newest two; for all processes at once.

        Raises:
            WriteError: If this one or the one before cannot be written; those before them are as they were.
        """
        states = gather_object([random_state(self._accelerator.device)])
        if not self._accelerator.is_main_process:
            return
        self.wait()
        final = self._folder / f"step-{progress.step:08d}"
        part = final.with_name(f"{final.name}.part")
        with _explained(final):
            for leftover in self._folder.glob("step-*.part"):
                shutil.rmtree(leftover)
            part.mkdir(parents=True)
            (part / _PLACE).write_text(json.dumps({**asdict(progress), "random": states}), encoding="utf-8")
            save_file(self._state.tensors(), part / _TENSORS)
            # The writer of tensor files shuts everybody else out.
            (part / _TENSORS).chmod((part / _PLACE).stat().st_mode)
        self._pending = self._thread.submit(_complete, part, final)

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk.

        Raises:
            WriteError: If it cannot be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def _complete(part: Path, final: Path) -> None:
    """Write the manifest of a checkpoint, wait for the disk, and give the checkpoint its name."""
    with _explained(final):
        files = {name: _facts(part / name) for name in (_TENSORS, _PLACE)}
        (part / _MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}, indent=1), encoding="utf-8")
        for name in (*files, _MANIFEST):
            flush(part / name)
        if final.exists():
            shutil.rmtree(final)
        replace_durably(part, final)
        # One of a later step is a damaged one that was skipped when this run was resumed; it is written anew in time.
        for old in [path for path in list_checkpoints(final.parent) if path.name <= final.name][:-_KEEP]:
            shutil.rmtree(old)


@contextmanager
def _explained(final: Path) -> Iterator[None]:
    """Turn a failed write into one message, and remove what it left."""
    try:
        yield
    except (OSError, SafetensorError) as err:
        shutil.rmtree(final.with_name(f"{final.name}.part"), ignore_errors=True)
        there = list_checkpoints(final.parent)
        kept = f"; {there[-1].name} is as it was, go on from it with runtime.resume=true" if there else ""
        raise WriteError(f"{unwritable(final, err)}{kept}") from err


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def load_newest_checkpoint(
    accelerator: Accelerator, folder: Path, state: TrainingState, say: Callable[[str], None]
) -> Progress:
    """Restore the newest whole checkpoint; to be called in all processes.

    Args:
        accelerator: The engine.
        folder: Where checkpoints lie.
        state: Receives.
        say: Told which checkpoint was taken, and why others were skipped.

    Raises:
        RunError: If there is none, or it was saved by another number of processes, or of another model.
    """
    # One process reads all files once; the others take its answer.
    found: list[Any] = [_newest_whole(folder, say) if accelerator.is_main_process else None]
    path = broadcast_object_list(found)[0]
    if isinstance(path, RunError):
        raise path
    place = read_json(path / _PLACE)
    states, now = place.pop("random"), accelerator.num_processes
    if len(states) != now:
        # Batches, steps and the schedule of the learning rate count what all processes do together.
        raise RunError(
            f"{path}: was saved by {len(states)} processes, now there are {now}; resume with {len(states)} "
            f"(sgear launch --nproc {len(states)})"
        )
    try:
        state.restore(load_file(path / _TENSORS))
    except (SafetensorError, RuntimeError, LookupError, ValueError) as err:
        reason = " ".join(str(err).split())[:300]
        raise RunError(
            f"{path}: does not fit this model ({reason}); resume with the version that wrote it, or start again"
        ) from err
    set_random_state(states[accelerator.process_index], accelerator.device)
    say(f"goes on from {path}")
    return Progress(**place)


def _newest_whole(folder: Path, say: Callable[[str], None]) -> Path | RunError:
    faults = []
    for path in reversed(list_checkpoints(folder)):
        fault = _fault(path)
        if not fault:
            return path
        faults.append(f"{path}: skipped, {fault}")
        say(faults[-1])
    if not faults:
        return RunError(f"{folder}: no checkpoint to resume from; start without runtime.resume=true")
    return RunError(
        "\n  ".join([f"{folder}: no whole checkpoint to resume from", *faults])
        + "\nDelete the run, or choose another name=..., and start again. A model that the run has finished is still "
        "read by 'sgear evaluate'"
    )


def _fault(path: Path) -> str:
    """Return why a checkpoint is not whole; empty for a whole one. Nothing but JSON and bytes are read."""
    missing = [name for name in (_MANIFEST, _TENSORS, _PLACE) if not (path / name).is_file()]
    if _MANIFEST in missing and any((path / name).exists() for name in _OLD_NAMES):
        return "it was written by an earlier version with pickle, which could execute anything and is never read"
    if missing:
        return f"{missing[0]} is missing"
    try:
        manifest = read_json(path / _MANIFEST)
        if manifest["format"] != FORMAT:
            return f"its format is {manifest['format']!r}, expected {FORMAT}"
        for name in (_TENSORS, _PLACE):
            stored, found = manifest["files"][name], _facts(path / name)
            if found["bytes"] != stored["bytes"]:
                return f"{name} has {found['bytes']} bytes instead of {stored['bytes']}"
            if found != stored:
                return f"the content of {name} has changed since it was written"
    except (RunError, OSError, LookupError, TypeError) as err:
        return f"it cannot be read ({err})"
    return ""
