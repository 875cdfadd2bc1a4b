"""Import timm beside a torchvision whose compiled operators do not load.

timm needs torchvision, and the torchvision that a package index hands out may be built for CUDA while torch is a
CPU build. Its import then fails while it registers shape rules for operators (`nms`, `qnms`) that are absent. This
module declares their signatures first, and only then. Where the operators load, it does nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import torch

_MISSING_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _declare_missing_operators() -> None:
    for name in _MISSING_OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _SIGNATURE)


def guard_torchvision() -> None:
    """Make `import torchvision` work; calling a missing compiled operator still raises."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as err:
        if "torchvision::" not in str(err):
            raise
        for name in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_missing_operators()
        importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """Return the timm module."""
    guard_torchvision()
    return importlib.import_module("timm")
