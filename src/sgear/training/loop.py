"""fit(): the training loop, on Accelerate.

A run is a pure function of its configuration and seed: data order and augmentation depend on (seed, epoch), all other
randomness is saved with each checkpoint, so a killed and resumed run ends with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, set_seed
from jaxtyping import Float
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as ProgressBar,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Sampler

from sgear.data import WindowDataset
from sgear.data.dataset import Batch
from sgear.data.loader import make_loader, whole_batches
from sgear.errors import ConfigError, RunError
from sgear.losses import Objective
from sgear.losses.mixup import draw_mix, mix_clips
from sgear.models import AnticipationModel, Baseline
from sgear.segments import SegmentTable
from sgear.stopping import Stopped, asked_number, delayed, is_asked, raise_if_asked
from sgear.training.checkpoints import CheckpointWriter, Progress, TrainingState, load_newest_checkpoint
from sgear.training.config import OptimConfig, RuntimeConfig
from sgear.training.evaluate import SkippedClips
from sgear.training.optim import build_optimizer, lr_scale, set_lr
from sgear.training.processes import keep_freed_memory
from sgear.training.run import RunDirectory, open_tracker
from sgear.video.transforms import finish_clip


class TrainStep(nn.Module):
    """Compute the loss terms of a batch."""

    def __init__(self, model: AnticipationModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return each active loss term and `total`."""
        mask, mix = batch["mask"], None
        clip = finish_clip(batch["clip"], batch["colour"], mask)
        if self.training and self.objective.config.mixup:
            mix = draw_mix(mask, alpha=self.objective.config.mixup)
            clip = mix_clips(clip, mix)
        output = self.model(clip, mask)
        return self.objective(output, batch["target"], batch["step_labels"], mask, batch["next_labels"], mix)


Evaluate = Callable[[AnticipationModel, Accelerator], dict[str, float]]


class EpochSampler(Sampler[int]):
    """A permutation drawn from (seed, epoch) alone."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        # A prime apart, so that epoch e of one seed is not epoch 0 of the next.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter(torch.randperm(self.num_samples, generator=generator).tolist())


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What training leaves in memory: the model to use, where it runs, and why clips could not be read, by uid."""

    model: AnticipationModel
    accelerator: Accelerator
    skipped: dict[str, str] = field(default_factory=dict)


def require_finite(losses: dict[str, float], *, step: int, lr: float) -> None:
    """Raise if a loss is no longer a number.

    Raises:
        RunError: Names the terms and what to change.
    """
    lost = [f"{name} {value}" for name, value in losses.items() if not math.isfinite(value)]
    if lost:
        raise RunError(
            f"training diverged in step {step} at a learning rate of {lr:g}: {', '.join(lost)}. Nothing was saved "
            "after the last checkpoint; lower optim.lr, lengthen optim.warmup_epochs, or set optim.clip_norm"
        )


def make_accelerator(runtime: RuntimeConfig, *, accumulate: int = 1) -> Accelerator:
    """Return the engine for a device and precision.

    Raises:
        ConfigError: If a GPU is asked for and there is none.
    """
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "runtime.device=cuda, but torch finds no GPU; set runtime.device=cpu, or see what 'sgear doctor' says"
        )
    # Accelerate keeps the first precision of a process and refuses another one; a notebook or a test may run both.
    AcceleratorState._reset_state()
    return Accelerator(
        # Accelerate joins processes on a processor only where it is told to use it; else each would train alone.
        cpu=runtime.device == "cpu" or (runtime.device == "auto" and not torch.accelerator.is_available()),
        mixed_precision="bf16" if runtime.precision == "bf16" else "no",
        gradient_accumulation_steps=accumulate,
        # Recognition without prototype parts leaves the bank without gradients, which several processes refuse.
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=timedelta(seconds=runtime.timeout_s)),
        ],
    )


def learn_at_once(
    model: Baseline, train: WindowDataset, segments: SegmentTable, *, runtime: RuntimeConfig, run: RunDirectory
) -> FitResult:
    """Train a baseline, which takes no step; the log stays empty.

    Args:
        model: Receives.
        train: Training samples.
        segments: All training segments.
        runtime: Machine.
        run: Where the log goes.

    Raises:
        SgearError: If a clip cannot be read and `train` stops at errors, or no clip can be read.
    """
    skipped = SkippedClips(train.segments.uids)

    def readable() -> Iterator[Mapping[str, Any]]:
        people = train.segments.column("participant_id")
        for index in range(len(train)):
            sample = train[index]
            if sample["unreadable"]:
                skipped.add_one(index, sample["unreadable"])
            else:
                yield {**sample, "participant_id": people[index]}
        skipped.require_some_read(what="training clips")

    accelerator = make_accelerator(runtime)
    model.learn(readable(), segments)
    run.metrics.write_text("", encoding="utf-8")
    reasons = skipped.gathered()
    return FitResult(model=model.to(accelerator.device).eval(), accelerator=accelerator, skipped=reasons)


def _is_anyone_asked(accelerator: Accelerator) -> bool:
    """Return whether a process of this run was asked to stop: all of them stop after the same step, or none."""
    if accelerator.num_processes == 1:
        return is_asked()
    asked = torch.tensor([float(is_asked())], device=accelerator.device)
    total: torch.Tensor = accelerator.reduce(asked, reduction="sum")  # type: ignore[assignment]
    return bool(total.item() > 0)


def fit(
    model: AnticipationModel,
    objective: Objective,
    train: WindowDataset,
    *,
    optim: OptimConfig,
    runtime: RuntimeConfig,
    seed: int,
    run: RunDirectory,
    evaluate: Evaluate | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> FitResult:
    """Train a model.

    Args:
        model: Fresh, or initialised from another run.
        objective: Weighted loss terms.
        train: Training samples.
        optim: Optimisation settings.
        runtime: Machine settings; `resume` goes on from the newest checkpoint of `run`.
        seed: Seed of data order and dropout. Weights were drawn before.
        run: Where checkpoints and the log go.
        evaluate: Called every `runtime.evaluate_every` epochs; its numbers are logged, nothing is chosen by them.
        say: Told from which checkpoint training goes on.

    Returns:
        The trained model (the running average of its weights where `optim.ema_decay` is set).

    Raises:
        ConfigError: If the device is not there.
        RunError: If `resume` is set and there is no checkpoint; if no training clip can be read; if the loss is no
            longer finite.
        SgearError: If a clip cannot be read and `train` stops at errors.
    """
    accelerator = make_accelerator(runtime, accumulate=optim.accumulate)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    # Weights were drawn before; from here on, dropout and augmentation of this run.
    set_seed(seed)
    sampler = EpochSampler(len(train), seed)
    # A loader draws a seed for its workers whenever it starts; from its own generator, so that starting once more
    # after a resume does not move the dropout's.
    loader = make_loader(
        train,
        batch_size=optim.batch_size,
        sampler=sampler,
        num_workers=runtime.num_workers,
        generator=torch.Generator(),
    )
    step_module = TrainStep(model, objective)
    plain_optimizer = build_optimizer(step_module, optim)
    state = TrainingState(step_module, plain_optimizer)
    loader, step_module, optimizer = accelerator.prepare(loader, step_module, plain_optimizer)
    num_batches = len(loader)
    # Rounded up: the batches left at the end of an epoch are a step of their own.
    steps_per_epoch = -(-num_batches // optim.accumulate)
    warmup_steps, total_steps = round(optim.warmup_epochs * steps_per_epoch), optim.epochs * steps_per_epoch

    def lr_at(step: int) -> float:
        share = lr_scale(step, warmup_steps=warmup_steps, total_steps=total_steps, final_share=optim.final_lr_share)
        return set_lr(plain_optimizer, share)

    average = None
    if optim.ema_decay:
        # Buffers are copied, not averaged: they hold chosen rows and frozen statistics.
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(optim.ema_decay))
        state = replace(state, average=average)
    best_known: AnticipationModel = model if average is None else average.module  # type: ignore[assignment]

    progress = Progress()
    if runtime.resume:
        progress = load_newest_checkpoint(accelerator, run.checkpoints, state, say)
    lr = lr_at(progress.step)
    skipped = SkippedClips(train.segments.uids, known=progress.skipped)
    tracker = open_tracker(
        run.metrics, run.path / "tensorboard", first_step=progress.step, writes=accelerator.is_main_process
    )
    bar = ProgressBar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        transient=True,
        disable=not accelerator.is_main_process,
    )
    with delayed(), closing(tracker), CheckpointWriter(accelerator, run.checkpoints, state) as checkpoints, bar:
        task = bar.add_task(run.name, total=total_steps, completed=progress.step)
        for epoch in range(progress.epoch, optim.epochs):
            # Order and augmentation follow from (seed, epoch): a resumed run sees what it would have seen.
            sampler.epoch = epoch
            train.set_epoch(epoch)
            first_batch = progress.batch if epoch == progress.epoch else 0
            batches = accelerator.skip_first_batches(loader, first_batch) if first_batch else loader
            sums: dict[str, float] = {}
            for batch_idx, batch in enumerate(whole_batches(batches), start=first_batch):
                skipped.add(batch)
                group_size = min(optim.accumulate, num_batches - batch_idx // optim.accumulate * optim.accumulate)
                with accelerator.accumulate(step_module):
                    with accelerator.autocast():
                        losses = step_module(batch)
                    # Accelerate divides by the full number also where an epoch ends with fewer batches.
                    accelerator.backward(losses["total"] * (optim.accumulate / group_size))
                    if accelerator.sync_gradients and optim.clip_norm:
                        accelerator.clip_grad_norm_(step_module.parameters(), optim.clip_norm)
                    # Inside `accumulate` this and `zero_grad` do nothing until the last batch of a group.
                    optimizer.step()
                    optimizer.zero_grad()
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach()) / group_size
                if not accelerator.sync_gradients:
                    continue
                values, sums = sums, {}
                # Before the average and the checkpoint: a NaN must reach neither.
                require_finite(values, step=progress.step + 1, lr=lr)
                if average is not None:
                    average.update_parameters(model)
                progress = Progress(epoch=epoch, batch=batch_idx + 1, step=progress.step + 1)
                tracker.log("train", progress.step, {**values, "lr": lr})
                # For the next step: the rate is a function of the step alone, so a resume needs no scheduler state.
                lr = lr_at(progress.step)
                bar.update(task, completed=progress.step, description=f"{run.name} loss {values['total']:.3f}")
                is_due = runtime.checkpoint_every and progress.step % runtime.checkpoint_every == 0
                is_stopping = _is_anyone_asked(accelerator)
                if is_stopping or (is_due and batch_idx + 1 < num_batches):
                    run.require_held()
                    progress = replace(progress, skipped=skipped.gathered())
                    checkpoints.save(progress)
                    if is_stopping:
                        raise Stopped(asked_number())
            progress = Progress(epoch=epoch + 1, batch=0, step=progress.step, skipped=skipped.gathered())
            # After a whole epoch: a damaged corpus would else train on nothing, quietly.
            skipped.require_some_read(what="training clips")
            if evaluate is not None and runtime.evaluate_every and (epoch + 1) % runtime.evaluate_every == 0:
                try:
                    # Several processes stop together, after it.
                    with delayed(is_delayed=accelerator.num_processes > 1):
                        if accelerator.num_processes == 1:
                            raise_if_asked()
                        numbers = evaluate(best_known, accelerator)
                except BaseException:
                    # All batches of the epoch are done, its evaluation is not. Several processes save together only.
                    if accelerator.num_processes == 1:
                        checkpoints.save(replace(progress, epoch=epoch, batch=num_batches))
                    raise
                tracker.log("validation", progress.step, numbers)
            run.require_held()
            checkpoints.save(progress)
            if _is_anyone_asked(accelerator):
                raise Stopped(asked_number())
    return FitResult(model=best_known.eval(), accelerator=accelerator, skipped=progress.skipped)
