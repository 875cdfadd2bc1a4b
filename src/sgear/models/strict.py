"""What is wrong between the tensors a module has and those that are offered to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

_MAX_NAMED = 3


def describe_mismatch(expected: Mapping[str, Tensor], offered: Mapping[str, Tensor]) -> str:
    """Return what is missing, unexpected or of another shape, with both sides; empty where all fits."""
    missing = [name for name in expected if name not in offered]
    unexpected = [name for name in offered if name not in expected]
    other = [
        f"{name} is {tuple(offered[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in offered and offered[name].shape != expected[name].shape
    ]
    parts = []
    if missing:
        parts.append(f"{len(missing)} tensors are missing ({shorten(missing)})")
    if unexpected:
        parts.append(f"{len(unexpected)} are not known here ({shorten(unexpected)})")
    if other:
        parts.append(f"{len(other)} have another shape ({shorten(other)})")
    return ", ".join(parts)


def shorten(names: Sequence[str]) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
