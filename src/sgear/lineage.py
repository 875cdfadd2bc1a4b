"""Which videos something was learnt from: it travels with weights and prototypes.

Data sets have several splits, and a test video of one is a training video of another. What was learnt on one split must
not start a run that is validated or tested on what it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VIDEO, ROWS, TIMES = "film:", "rows:", "times:"
"""How contents of a video begin: digits of its video, of its stored features, and of the times of its segments."""


@dataclass(frozen=True, kw_only=True)
class TrainingPart:
    """The part of a data set that something was learnt from.

    Args:
        dataset: Name of the data set.
        split: Number of its split.
        num_folds: Number of folds of its training participants; 0 is the official split.
        fold: Held-out fold.
        corpus: Recordings that the names of videos belong to; data sets of one corpus share videos.
        videos: Video -> its segments, as `start-stop` in seconds, where the split cuts videos; without any, the whole
            video.
        contents: Video -> what it is known by under any name: digits of its video and of its stored features, as far as
            there are any; and digits of the times of its segments, which videos of one name have in common if they are
            one.
    """

    dataset: str
    split: int
    num_folds: int
    fold: int
    corpus: str
    videos: Mapping[str, Sequence[str]]
    contents: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The data set, its split and its fold in words."""
        fold = f", fold {self.fold} of {self.num_folds}" if self.num_folds else ""
        return f"{self.dataset}, split {self.split}{fold}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "num_folds": self.num_folds,
            "fold": self.fold,
            "corpus": self.corpus,
            "videos": _lists(self.videos),
            # Without any there is no entry, nor had any file one before there were contents.
            **({"contents": _lists(self.contents)} if self.contents else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingPart:
        """Rebuild a part from `to_dict`."""
        numbers = {name: int(values[name]) for name in ("split", "num_folds", "fold")}
        return cls(
            dataset=str(values["dataset"]),
            corpus=str(values["corpus"]),
            videos=_texts_by_name(values["videos"]),
            contents=_texts_by_name(values.get("contents", {})),
            **numbers,
        )


def _lists(texts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: list(each) for name, each in texts.items()}


def _texts_by_name(values: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {str(name): tuple(map(str, each)) for name, each in dict(values).items()}


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """All that something was learnt from, itself or through what it started from.

    Args:
        parts: Parts of data sets.
        gaps: What it started from that does not say what it was learnt from.
    """

    parts: tuple[TrainingPart, ...] = ()
    gaps: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [f"{part.name} ({len(part.videos)} videos)" for part in self.parts]
        return "; ".join([*told, *self.gaps])

    def joined_with(self, others: Iterable[Lineage]) -> Lineage:
        """Return the union of several."""
        lineages = (self, *others)
        parts: list[TrainingPart] = []
        for part in (part for lineage in lineages for part in lineage.parts):
            if part not in parts:
                parts.append(part)
        gaps = dict.fromkeys(gap for lineage in lineages for gap in lineage.gaps)
        return Lineage(parts=tuple(parts), gaps=tuple(gaps))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {"parts": [part.to_dict() for part in self.parts], "gaps": list(self.gaps)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None, *, name: str) -> Lineage:
        """Rebuild a lineage from `to_dict`.

        Args:
            values: The dict; None in files that were written before there was one, which leaves a gap.
            name: What the gap is called.

        Raises:
            KeyError: If an entry is missing.
            TypeError: If an entry is of another kind.
            ValueError: If a number is none.
        """
        if values is None:
            return cls(gaps=(name,))
        parts = tuple(TrainingPart.from_dict(part) for part in values["parts"])
        return cls(parts=parts, gaps=tuple(map(str, values["gaps"])))


UNKNOWN = Lineage(gaps=("an origin that was not recorded",))
