"""Optimisers and the learning-rate schedule as a pure function of the step."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from sgear.errors import ConfigError
from sgear.training.config import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """Return the optimiser; matrices are decayed, vectors and scalars are not.

    Raises:
        ConfigError: If the name is unknown.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    match config.name:
        case "adamw":
            return AdamW(groups, lr=config.lr)
        case "sgd":
            return SGD(groups, lr=config.lr, momentum=0.9)
        case other:
            raise ConfigError(f"optim.name={other!r} is unknown; choose adamw or sgd")


def lr_scale(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Return the share of the peak learning rate at a step: linear warm-up, then a cosine to 0.

    Args:
        step: Optimiser step, from 0.
        warmup_steps: Length of the warm-up.
        total_steps: Length of the training.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
