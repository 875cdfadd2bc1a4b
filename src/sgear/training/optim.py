"""Optimisers and the learning-rate schedule as a pure function of the step."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from sgear.errors import ConfigError
from sgear.training.config import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """Return the optimiser; matrices are decayed, vectors and scalars are not.

    Args:
        model: Its parameters that are not frozen (`init.freeze`); those under a submodule named `encoder` learn at
            `encoder_lr_scale`.
        config: Settings.

    Raises:
        ConfigError: If the name is unknown, or nothing is left to train.
    """
    groups = []
    # Four groups at most: encoder and rest, matrices and the others. An empty one would be an error of torch.
    for in_encoder, scale in ((True, config.encoder_lr_scale), (False, 1.0)):
        members = [
            parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and ("encoder" in name.split(".")) == in_encoder
        ]
        # Decay pulls towards 0, which means something for a map and nothing for a gain, a bias or a temperature.
        for is_matrix, decay in ((True, config.weight_decay), (False, 0.0)):
            chosen = [parameter for parameter in members if (parameter.ndim >= 2) == is_matrix]
            if chosen:
                peak = config.lr * scale
                groups.append({"params": chosen, "weight_decay": decay, "lr": peak, "initial_lr": peak})
    if not groups:
        raise ConfigError("every parameter is frozen; take a block out of init.freeze")
    match config.name:
        # Fused: four times as fast as foreach on a processor (research/LOG.md).
        case "adamw":
            return AdamW(groups, lr=config.lr, fused=True)
        case "adam":
            return Adam(groups, lr=config.lr, fused=True)
        case "sgd":
            return SGD(groups, lr=config.lr, momentum=0.9, nesterov=config.nesterov, fused=True)
        case other:
            raise ConfigError(f"optim.name={other!r} is unknown; choose adamw, adam or sgd")


def set_lr(optimizer: Optimizer, scale: float) -> float:
    """Set the learning rates to a share of their peaks; return that of the first group."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * scale
    return float(optimizer.param_groups[0]["lr"])


def lr_scale(step: int, *, warmup_steps: int, total_steps: int, final_share: float = 0.0) -> float:
    """Return the share of the peak learning rate at a step: linear warm-up, then a cosine to `final_share`.

    Args:
        step: Optimiser step, from 0.
        warmup_steps: Length of the warm-up.
        total_steps: Length of the training.
        final_share: Share at the end, in [0, 1].
    """
    # Step 0 learns already: a rate of 0 would waste the first batch.
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    # p in [0, 1]; scale = f + (1 - f) (1 + cos(pi p)) / 2, and f itself after the last step.
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
