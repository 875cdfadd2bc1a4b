"""Warnings that go with numbers wherever they are shown: of their protocol, and of the models behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sgear.predictions.table import UNSTATED
from sgear.timing import RecognitionProtocol, VJepaProtocol

KEY = "caveat"
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
    return list(dict.fromkeys([*found, *map(str, _entries(KEY, provenances))]))


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
    said = str(provenance.get(KEY, ""))
    texts = [said, *(text for text in dict.fromkeys(caveats) if text not in said)]
    joined = ". ".join(filter(None, texts))
    return {**provenance, KEY: joined} if joined else dict(provenance)
