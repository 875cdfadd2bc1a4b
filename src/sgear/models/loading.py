"""What stored weights give to a model, key by key: what is missing, unexpected or of another shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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


_RENAMED = {"bank": "prototypes"}


def block_of(tensor_name: str) -> str:
    """Return the block that a tensor of a model belongs to."""
    top = tensor_name.partition(".")[0]
    return _RENAMED.get(top, top)


@dataclass(frozen=True, kw_only=True)
class Loading:
    """What was loaded and what was not.

    Args:
        loaded: Tensors of the model that were taken over.
        missing: Tensors of the model that the source does not give.
        unexpected: Tensors of the source that were not used.
        notes: What else happened to the loaded ones, in words.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def inside(self, module: str, *, missing: Sequence[str] = ()) -> Loading:
        """Return this for the whole model, where it is that of a module.

        Args:
            module: Name of the module in the model.
            missing: Tensors of the model around it that the source does not give either.
        """
        loaded, lacking = (tuple(f"{module}.{name}" for name in names) for names in (self.loaded, self.missing))
        return replace(self, loaded=loaded, missing=(*lacking, *missing))

    def lines(
        self, source: str, *, missing_as: str = "they keep their start values", unexpected_as: str = "not used"
    ) -> list[str]:
        """Return the summary in three lines: counts by block, then the first names.

        Args:
            source: Where the weights come from.
            missing_as: What became of the missing tensors.
            unexpected_as: What became of the unexpected ones.
        """
        return [
            "; ".join([f"from {source}: loaded {_count(self.loaded)}", *self.notes]),
            f"from {source}: missing {_count(self.missing)}" + (f"; {missing_as}" if self.missing else ""),
            f"from {source}: unexpected {_count(self.unexpected)}" + (f"; {unexpected_as}" if self.unexpected else ""),
        ]


def _count(names: Sequence[str]) -> str:
    if not names:
        return "none"
    by_block = ", ".join(f"{block} {number}" for block, number in Counter(map(block_of, names)).items())
    return f"{len(names)} tensors: {by_block} ({shorten(names)})"
