"""Segments that could not be read: the list that travels with predictions, and what it makes of their numbers.

A number that leaves segments out, in training or in evaluation, answers an easier or another question than the
benchmark asks. So the list is kept in the provenance of every file of predictions, and nothing that is made of such a
file calls itself a benchmark number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sgear.errors import PredictionError

KEY = "skipped"
Skipped = dict[str, dict[str, str]]
"""Why a segment could not be read, by split and uid; splits without any are left out."""


def merge_skipped(lists: Iterable[Mapping[str, Mapping[str, str]]]) -> Skipped:
    """Return the union of several lists; where a segment is on two of them, the first reason stays."""
    merged: Skipped = {}
    for skipped in lists:
        for split, reasons in skipped.items():
            if reasons:
                merged[split] = {**reasons, **merged.get(split, {})}
    return merged


def skipped_of(provenance: Mapping[str, object]) -> Skipped:
    """Return the list in a provenance.

    Raises:
        PredictionError: If what stands in its place is none.
    """
    found = provenance.get(KEY, {})
    is_whole = isinstance(found, dict) and all(
        isinstance(reasons, dict) and all(isinstance(reason, str) for reason in reasons.values())
        for reasons in found.values()
    )
    if not isinstance(found, dict) or not is_whole:
        raise PredictionError(f"the provenance has no list of skipped segments by split and uid, but {found!r:.80}")
    return merge_skipped([found])


def with_skipped(provenance: Mapping[str, object], skipped: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """Return a provenance that has a list too; an empty one is no entry."""
    merged = merge_skipped([skipped_of(provenance), skipped])
    return {name: value for name, value in provenance.items() if name != KEY} | ({KEY: merged} if merged else {})


def skipped_text(skipped: Mapping[str, Mapping[str, str]]) -> str:
    """Return in one line that these are no benchmark numbers and why; empty where nothing was skipped."""
    counts = {split: len(reasons) for split, reasons in skipped.items() if reasons}
    if not counts:
        return ""
    total = sum(counts.values())
    places = ", ".join(f"{count} of {split}" for split, count in counts.items())
    noun, verb = ("segment", "was") if total == 1 else ("segments", "were")
    return f"not a benchmark number: {total} {noun} could not be read and {verb} skipped ({places})"
