"""Metrics take numpy arrays and torch tensors alike: whatever comes becomes an array once, at the door."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def takes_tensors(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of numpy arrays take tensors as well, of any device, with or without gradients.

    Numbers of half precision become float32, so that sums over many of them are not rounded at every step.
    """
    of_arrays: Callable[..., R] = function

    @wraps(function)
    def of_any(*args: P.args, **kwargs: P.kwargs) -> R:
        return of_arrays(*map(_as_array, args), **{name: _as_array(value) for name, value in kwargs.items()})

    return of_any


def _as_array(value: Any) -> Any:
    """Return a tensor as an array, half precision as float32, and anything else as it is."""
    # Known by its methods, so that metrics of arrays need no torch.
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() and value.itemsize < 4 else value).numpy()
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float16 else value
