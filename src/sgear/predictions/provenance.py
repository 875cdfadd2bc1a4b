"""What the provenance of predictions says against their numbers: caveats, unchecked origins, skipped segments.

A number that leaves segments out, in training or in evaluation, answers an easier or another question than the
benchmark asks, so nothing that is made of such a file calls itself a benchmark number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sgear.errors import PredictionError
from sgear.predictions.table import UNSTATED
from sgear.timing import RecognitionProtocol, VJepaProtocol

CAVEAT = "caveat"
"""Entry of the provenance of a model whose numbers need a warning; it travels through fusion."""
UNCHECKED = "unchecked"
"""Entry of the provenance of a model that started from, or read, what may have been learnt from held-out videos."""

_OF_PROTOCOL = {
    VJepaProtocol.kind: VJepaProtocol.CAVEAT,
    RecognitionProtocol.kind: "the model saw the action itself (recognition); these are no anticipation numbers",
    str(UNSTATED["kind"]): "the file does not say what its model saw (no protocol), so nothing shows that these are "
    "anticipation numbers",
}


def caveats_of(protocol: Mapping[str, float | str], provenances: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return each warning once.

    Args:
        protocol: Protocol of the numbers.
        provenances: Where they come from, e.g. `Predictions.provenance`.
    """
    found = [_OF_PROTOCOL[kind]] if (kind := str(protocol["kind"])) in _OF_PROTOCOL else []
    return list(dict.fromkeys([*found, *map(str, _entries(CAVEAT, provenances))]))


def unchecked_of(provenances: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is not known of the origin of models, each once."""
    lists = [texts for texts in _entries(UNCHECKED, provenances) if isinstance(texts, list)]
    return list(dict.fromkeys(str(text) for texts in lists for text in texts))


def _entries(key: str, provenances: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
    """Give the entries of a name in provenances, and in those of the models that they were fused from."""
    pending = list(provenances)
    while pending:
        provenance = pending.pop(0)
        if key in provenance:
            yield provenance[key]
        parts = provenance.get("fusion", [])
        pending += [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def with_caveats(provenance: Mapping[str, Any], caveats: Iterable[str]) -> dict[str, Any]:
    """Return a provenance that has more caveats, each once; without any it has no such entry."""
    said = str(provenance.get(CAVEAT, ""))
    texts = [said, *(text for text in dict.fromkeys(caveats) if text not in said)]
    joined = ". ".join(filter(None, texts))
    return {**provenance, CAVEAT: joined} if joined else dict(provenance)


SKIPPED = "skipped"
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
    found = provenance.get(SKIPPED, {})
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
    return {name: value for name, value in provenance.items() if name != SKIPPED} | (
        {SKIPPED: merged} if merged else {}
    )


def skipped_text(skipped: Mapping[str, Mapping[str, str]]) -> str:
    """Return in one line that these are no benchmark numbers and why; empty where nothing was skipped."""
    counts = {split: len(reasons) for split, reasons in skipped.items() if reasons}
    if not counts:
        return ""
    total = sum(counts.values())
    places = ", ".join(f"{count} of {split}" for split, count in counts.items())
    noun, verb = ("segment", "was") if total == 1 else ("segments", "were")
    return f"not a benchmark number: {total} {noun} could not be read and {verb} skipped ({places})"
