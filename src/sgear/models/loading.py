"""What stored weights gave to a model, key by key, told in one form wherever they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sgear.models.strict import shorten

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
