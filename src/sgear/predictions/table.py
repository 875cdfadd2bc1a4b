"""`Predictions`: the scores of one model on one split, keyed by uid, with the protocol and where they came from.

Fusion, reports and comparisons start from this file alone. It is a safetensors file: scores and targets as tensors,
everything else as JSON in its header, so nothing in it can execute, and a checksum finds what changed on the way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sgear.errors import AnnotationError, PredictionError
from sgear.files import replacing
from sgear.metrics.probabilities import marginalize
from sgear.predictions.other_files import kind_of, refusal
from sgear.segments import UNKNOWN_ACTION
from sgear.taxonomy import FIELDS, Field, Taxonomy
from sgear.timing import protocol_from_dict

FORMAT = "sgear-predictions-2"
FORMAT_WITHOUT_CHECKSUM = "sgear-predictions-1"
_CHECKSUM = "sha256"
_TEXTS = ("uids", "taxonomy", "protocol", "provenance")
_DTYPES = {"logits": "F32", "targets": "I64", "verb_logits": "F32", "noun_logits": "F32"}
_REQUIRED = ("logits", "targets")


def _read(path: Path) -> dict[str, Any]:
    """Return the fields of `Predictions`, with the types that they must have; their values are not compared yet."""
    if not path.exists():
        raise PredictionError(f"{path}: no such file; predictions are written by 'sgear evaluate RUN'")
    if kind := kind_of(path):
        raise PredictionError(refusal(path, kind))
    try:
        with safe_open(path, framework="numpy") as file:
            header = dict(file.metadata() or {})
            if header.get("format") not in (FORMAT, FORMAT_WITHOUT_CHECKSUM):
                raise PredictionError(f"{path}: not a table of predictions (format {header.get('format')!r})")
            tensors = _tensors(file)
        _check_header(header, tensors)
        texts = {name: _parsed(header[name]) for name in _TEXTS}
        return {
            **tensors,
            "uids": tuple(_strings(texts["uids"], "uids")),
            "taxonomy": _taxonomy(texts["taxonomy"]),
            "protocol": checked_protocol(texts["protocol"]),
            "provenance": _is(texts["provenance"], dict, "provenance"),
        }
    except (SafetensorError, OSError, ValueError, RecursionError, AnnotationError) as err:
        raise PredictionError(f"{path}: damaged predictions file ({err}); evaluate the run again") from err


def _checksum(header: Mapping[str, str], tensors: Mapping[str, NDArray]) -> str:
    digest = hashlib.sha256()
    for name in ("format", *_TEXTS):
        digest.update(f"{name} {len(header[name])}\n{header[name]}\n".encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data.cast("B") if tensors[name].size else b"")
    return digest.hexdigest()


def _check_header(header: Mapping[str, str], tensors: Mapping[str, NDArray]) -> None:
    missing = [name for name in _TEXTS if name not in header]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    if header["format"] == FORMAT and header.get(_CHECKSUM) != _checksum(header, tensors):
        raise ValueError("its checksum does not fit its contents")


def _tensors(file: Any) -> dict[str, NDArray]:
    names = set(file.keys())
    missing, unknown = set(_REQUIRED) - names, names - set(_DTYPES)
    if missing or unknown:
        raise ValueError(f"tensors missing: {sorted(missing)}, unknown: {sorted(unknown)}")
    for name in sorted(names):
        dtype = file.get_slice(name).get_dtype()
        if dtype != _DTYPES[name]:
            raise ValueError(f"{name} are {dtype}, expected {_DTYPES[name]}")
    return {name: file.get_tensor(name) for name in names}


def _parsed(text: str) -> Any:
    value = json.loads(text)
    # Half of a surrogate pair is a string to JSON, but can be printed and written nowhere.
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _is(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name} should be {kind.__name__}, not {type(value).__name__}")
    return value


def _strings(value: Any, name: str) -> list[str]:
    for item in _is(value, list, name):
        _is(item, str, f"an entry of {name}")
    return value


def _taxonomy(value: Any) -> Taxonomy:
    parts = _is(value, dict, "taxonomy")
    missing = {"verbs", "nouns", "action_pairs", "action_names"} - set(parts)
    if missing:
        raise ValueError(f"the taxonomy lacks {', '.join(sorted(missing))}")
    for name in ("verbs", "nouns", "action_names"):
        _strings(parts[name], name)
    for pair in _is(parts["action_pairs"], list, "action_pairs"):
        if len(_is(pair, list, "an action pair")) != 2:
            raise ValueError(f"an action is a verb and a noun, got {len(pair)} numbers")
        for part in pair:
            _is(part, int, "a verb or noun id")
    if not parts["action_pairs"]:
        raise ValueError("the taxonomy has no actions")
    return Taxonomy.from_dict(parts)


def checked_protocol(value: Any) -> dict[str, float | str]:
    """Return what a file states as its protocol.

    Raises:
        ValueError: If it is no object of numbers and texts.
    """
    for name, item in _is(value, dict, "protocol").items():
        if isinstance(item, bool) or not isinstance(item, int | float | str):
            raise ValueError(f"{name} of the protocol should be a number or a text, not {type(item).__name__}")
    return value


UNSTATED: dict[str, float | str] = {"kind": "unstated"}
"""Stands for the protocol in tables of other code that do not say what their model saw."""


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the softmax over the last axis."""
    # In place: a second array of this size would cost more time than the arithmetic.
    probs = np.subtract(logits, logits.max(axis=-1, keepdims=True), dtype=np.float64)
    np.exp(probs, out=probs)
    probs /= probs.sum(axis=-1, keepdims=True)
    return probs


def whole_protocol(protocol: dict[str, float | str]) -> dict[str, float | str]:
    """Return a protocol with the values that an older file leaves out.

    Raises:
        ValueError: If it is none.
    """
    return protocol if protocol == UNSTATED else protocol_from_dict(protocol).to_dict()


def protocol_differences(first: Mapping[str, float | str], second: Mapping[str, float | str]) -> str:
    """Return the settings in which two protocols differ, in words; empty where they are the same."""
    names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
    return ", ".join(f"{name} {first.get(name, 'none')} and {second.get(name, 'none')}" for name in names)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Scores of every evaluated segment, each uid exactly once.

    Args:
        uids: One uid per sample, unique.
        logits: Action scores before softmax [M A], float32.
        targets: True action of each sample [M]; all -1 on a test split without labels.
        taxonomy: Vocabulary of the scores.
        protocol: The protocol's `to_dict()`, or `UNSTATED`.
        provenance: Model name, run, commit, seed and the like; JSON values.
        verb_logits: Scores before softmax of a verb head [M V]. Default: verbs are summed action probabilities.
        noun_logits: The same of a noun head [M N].

    Raises:
        PredictionError: If shapes disagree, a uid repeats, a target is out of range, or a score is not finite.
    """

    uids: tuple[str, ...]
    logits: NDArray[np.float32]
    targets: NDArray[np.int64]
    taxonomy: Taxonomy
    protocol: dict[str, float | str]
    provenance: dict[str, object] = field(default_factory=dict)
    verb_logits: NDArray[np.float32] | None = None
    noun_logits: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.uids), self.taxonomy.num_actions)
        if self.logits.shape != shape or self.targets.shape != shape[:1]:
            raise PredictionError(
                f"expected logits {shape} for {shape[0]} uids and {shape[1]} actions, and as many targets; "
                f"got logits {self.logits.shape} and targets {self.targets.shape}"
            )
        if len(set(self.uids)) != len(self.uids):
            seen: set[str] = set()
            twice = next(uid for uid in self.uids if uid in seen or seen.add(uid))
            raise PredictionError(f"uid {twice!r} occurs more than once; each segment is predicted exactly once")
        is_known = self.targets != UNKNOWN_ACTION
        if is_known.any() and not (
            is_known.all() and self.targets.min() >= 0 and self.targets.max() < self.taxonomy.num_actions
        ):
            raise PredictionError(
                f"true actions must all be in 0..{self.taxonomy.num_actions - 1}, or all be -1 (not known); got "
                f"{self.targets.min()}..{self.targets.max()}"
            )
        for name in FIELDS:
            own, num_classes = self.own_scores(name), len(self.taxonomy.names(name))
            if own is None:
                continue
            if own.shape != (len(self.uids), num_classes):
                raise PredictionError(f"expected {name} logits {(len(self.uids), num_classes)}, got {own.shape}")
            if len(bad := np.flatnonzero(~np.isfinite(own).all(axis=1))):
                raise PredictionError(
                    f"{len(bad)} samples have a {name} score that is not finite, first {self.uids[bad[0]]!r}"
                )
        try:
            whole_protocol(self.protocol)
        except ValueError as err:
            raise PredictionError(str(err)) from err

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def is_labelled(self) -> bool:
        """Whether the true actions are known."""
        return bool((self.targets != UNKNOWN_ACTION).all())

    @property
    def probs(self) -> NDArray[np.float64]:
        """Softmax of the logits, [M A]."""
        return softmax(self.logits)

    def field_probs(self, field: Field) -> NDArray[np.float64]:
        """Return the probabilities of a field [M K]: of its own head, or summed from the actions' probabilities."""
        own = self.own_scores(field)
        if own is not None:
            return softmax(own)
        return marginalize(self.probs, self.taxonomy.ids_of_action(field), len(self.taxonomy.names(field)))

    def field_targets(self, field: Field) -> NDArray[np.int64]:
        """Return the true class of each sample in a field [M].

        Raises:
            PredictionError: If the true actions are not known.
        """
        if not self.is_labelled:
            raise PredictionError("these predictions are of a split without labels; there is nothing to score")
        return self.taxonomy.ids_of_action(field)[self.targets]

    def aligned_to(self, uids: tuple[str, ...]) -> Predictions:
        """Return the same predictions in another order of the same uids.

        Raises:
            PredictionError: If the sets of uids differ; counts what is missing on either side.
        """
        if uids == self.uids:
            return self
        row_of = {uid: row for row, uid in enumerate(self.uids)}
        missing = [uid for uid in uids if uid not in row_of]
        extra = set(self.uids) - set(uids)
        if missing or extra:
            example = missing[0] if missing else sorted(extra)[0]
            raise PredictionError(
                f"the two tables are not about the same segments: {len(missing)} uids missing, {len(extra)} extra, "
                f"for example {example!r}. Evaluate both models on the same split."
            )
        return self.take(np.array([row_of[uid] for uid in uids], dtype=np.int64))

    def matched_to(self, other: Predictions) -> Predictions:
        """Return the same predictions in the row order of another table.

        Raises:
            PredictionError: If segments or true actions differ.
        """
        aligned = self.aligned_to(other.uids)
        if not np.array_equal(aligned.targets, other.targets):
            raise PredictionError("the tables disagree about the true actions; they come from different annotations")
        return aligned

    def own_scores(self, field: Field) -> NDArray[np.float32] | None:
        """Return the logits of a field's own head [M K]; None where it is summed from action probabilities."""
        return {"verb": self.verb_logits, "noun": self.noun_logits, "action": self.logits}[field]

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """Return the samples of the given rows, in that order."""
        return replace(
            self,
            uids=tuple(self.uids[row] for row in rows),
            logits=self.logits[rows],
            targets=self.targets[rows],
            verb_logits=None if self.verb_logits is None else self.verb_logits[rows],
            noun_logits=None if self.noun_logits is None else self.noun_logits[rows],
        )

    def check_comparable(self, other: Predictions, *, any_window: bool = False) -> None:
        """Raise if numbers of the two tables must not stand side by side.

        Args:
            other: The other table.
            any_window: Let models look back by different lengths: they are asked the same of the same segments, so
                their scores may be averaged, though it would be no fair comparison.

        Views may differ: crops and mirrored frames at test time are how a model answers, and no part of the question;
        a model of stored features has none.

        Raises:
            PredictionError: If protocol or vocabulary differ; gives both sides.
        """
        ours, theirs = whole_protocol(self.protocol), whole_protocol(other.protocol)
        free = ("views", "view_mean", *(("tau_o_s", "fps", "short_history") if any_window else ()))
        if any(ours.get(name) != theirs.get(name) for name in {*ours, *theirs} if name not in free):
            remedy = (
                "train or evaluate both with the same settings of protocol.*, and compare the files of one protocol"
            )
            if UNSTATED in (ours, theirs):
                remedy = "state the protocol in the file that has none (docs/submissions.md, section 6)"
            raise PredictionError(f"different protocols: {protocol_differences(ours, theirs)}; {remedy}")
        if self.taxonomy.digest != other.taxonomy.digest:
            raise PredictionError(
                f"different vocabularies: {self.taxonomy.num_actions} actions ({self.taxonomy.digest}) and "
                f"{other.taxonomy.num_actions} actions ({other.taxonomy.digest})"
            )

    def save(self, path: Path) -> None:
        """Write the table to a safetensors file, whole or not at all.

        Raises:
            WriteError: If it cannot be written; nothing is left then.
        """
        tensors = {
            "logits": np.ascontiguousarray(self.logits, dtype=np.float32),
            "targets": np.ascontiguousarray(self.targets, dtype=np.int64),
        }
        for name, own in (("verb_logits", self.verb_logits), ("noun_logits", self.noun_logits)):
            if own is not None:
                tensors[name] = np.ascontiguousarray(own, dtype=np.float32)
        header = {"format": FORMAT, "taxonomy": json.dumps(self.taxonomy.to_dict())}
        header |= {name: json.dumps(getattr(self, name)) for name in _TEXTS if name != "taxonomy"}
        header[_CHECKSUM] = _checksum(header, tensors)
        with replacing(path) as partial:
            save_file(tensors, partial, metadata=header)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read a table written by `save`.

        Raises:
            PredictionError: If the file is missing, damaged, or not a table of predictions; names other formats.
        """
        fields = _read(path)
        try:
            return cls(**fields)
        except (PredictionError, OverflowError) as err:
            raise PredictionError(f"{path}: damaged predictions file ({err}); evaluate the run again") from err
