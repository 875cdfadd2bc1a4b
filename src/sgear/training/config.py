"""Settings of optimisation and of the machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimisation.

    Args:
        name: `adamw`, `adam` (decay as part of the gradient) or `sgd` (momentum 0.9).
        nesterov: Nesterov's form of momentum (`sgd`).
        lr: Peak learning rate.
        encoder_lr_scale: Learning rate of the encoder as a share of `lr`, for encoders that were trained before.
        weight_decay: Decay of matrices; vectors (biases, norms, gates) are not decayed.
        epochs: Passes over the training set.
        warmup_epochs: Linear warm-up; a cosine to `final_lr_share` follows.
        final_lr_share: Learning rate at the end as a share of `lr`.
        batch_size: Clips per step and process.
        accumulate: Batches whose gradients are averaged into one step.
        clip_norm: Largest norm of the gradient; 0 does not clip.
        ema_decay: Decay of the running average of the weights that is evaluated and saved; 0 keeps the last weights.
    """

    name: str = "adamw"
    nesterov: bool = False
    lr: float = 1e-3
    encoder_lr_scale: float = 1.0
    weight_decay: float = 0.05
    epochs: int = 10
    warmup_epochs: float = 1.0
    final_lr_share: float = 0.0
    batch_size: int = 32
    accumulate: int = 1
    clip_norm: float = 1.0
    ema_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """The machine.

    Args:
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32` or `bf16` (autocast).
        num_workers: Loader processes in training and evaluation, at most one per core; 0 reads in the main process.
        checkpoint_every: Steps between two checkpoints; 0 saves at the end of each epoch only.
        evaluate_every: Epochs between two evaluations on the validation set; 0 evaluates at the end only.
        timeout_s: Seconds after which a process of several gives up waiting for another one.
        resume: Go on from the newest checkpoint of the run directory: `true`, `false`, or `auto`, where there is one.
    """

    device: str = "auto"
    precision: str = "fp32"
    num_workers: int = 0
    checkpoint_every: int = 0
    evaluate_every: int = 0
    timeout_s: float = 1800.0
    resume: bool | str = False
