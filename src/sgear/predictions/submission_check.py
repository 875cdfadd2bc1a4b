"""Say everything that is wrong with a submission file, before the server says the first thing.

Equal findings about many segments become one sentence with a count. The rules are those of the official evaluation
script; keys are held to the one spelling that every program reads alike.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sgear.predictions.other_files import MAX_BYTES, JsonObject, Problem, ScoreObject, quote, read_document
from sgear.predictions.submission import EPIC100, MAX_SLS, NUM_ACTIONS, SLS_NAMES, Challenge
from sgear.taxonomy import FIELDS, Field, Taxonomy

UNKNOWN_PAIR = "action: a pair is not among the known actions and can hardly be right"
_NUM_SHOWN = 3
_TOP_K = 5
_CLASS_KEY = re.compile(r"0|[1-9][0-9]{0,8}")
_ACTION_KEY = re.compile(r"(0|[1-9][0-9]{0,8}),(0|[1-9][0-9]{0,8})")


@dataclass
class SubmittedScores:
    """Scores of a file without errors, in the order of the asked uids.

    `verb` [M V], `noun` [M N]; `action_ids` and `action` [M 100] in the order of the file. None where not given.
    """

    verb: NDArray[np.float64]
    noun: NDArray[np.float64]
    action: NDArray[np.float64] | None
    action_ids: NDArray[np.int64] | None


def check_submission(
    path: Path,
    *,
    uids: Sequence[str],
    taxonomy: Taxonomy,
    challenge: Challenge = EPIC100,
    member: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> list[Problem]:
    """Name everything that is wrong with a submission file.

    Args:
        path: The zip that would be uploaded, or its bare JSON.
        uids: All segments of the split.
        taxonomy: Vocabulary of the data set.
        challenge: The challenge it is for.
        member: File inside the zip. Default: the challenge's first.
        max_bytes: Limit of the size of the JSON.

    Returns:
        Problems, the most general first; empty if the server will accept the file.

    Raises:
        ValueError: If the uids repeat or the vocabulary is not the challenge's.
    """
    return inspect(path, uids, taxonomy, challenge, member, max_bytes)[0]


def inspect(
    path: Path, uids: Sequence[str], taxonomy: Taxonomy, challenge: Challenge, member: str | None, max_bytes: int
) -> tuple[list[Problem], SubmittedScores | None]:
    """Check a file and return its scores with the problems; the scores are None where there is an error."""
    size = (len(taxonomy.verbs), len(taxonomy.nouns))
    if size != (challenge.num_verbs, challenge.num_nouns):
        raise ValueError(
            f"{challenge.name} has {challenge.num_verbs} verbs and {challenge.num_nouns} nouns, got {size}"
        )
    if len(set(uids)) != len(uids):
        raise ValueError("the uids of the split repeat")
    document, problems = read_document(path, challenge.members, member or challenge.members[0], max_bytes=max_bytes)
    if document is None and problems:
        return problems, None
    if not isinstance(document, JsonObject | ScoreObject):
        return [*problems, Problem(f"the file holds {_kind(document)}, not an object with 'results'")], None
    findings = _Findings(problems=problems)
    top = _mapping(document)
    for key in document.repeated:
        findings.add(f"the key {quote(key)} occurs twice")
    _check_head(top, challenge, findings)
    results = top.get("results")
    if not isinstance(results, JsonObject | ScoreObject):
        findings.add("'results' is missing" if "results" not in top else f"'results' is {_kind(results)}, no object")
        return findings.all(), None
    rows = _Rows(list(uids), taxonomy, challenge, findings)
    rows.read(results)
    found = findings.all()
    has_error = any(problem.level == "error" for problem in found)
    return found, None if has_error else rows.scores()


@dataclass
class _Findings:
    """Collects sentences; those about segments are counted."""

    problems: list[Problem] = field(default_factory=list)
    by_text: dict[tuple[str, Literal["error", "warning"]], list[str]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    def add(self, text: str, *, level: Literal["error", "warning"] = "error") -> None:
        self.problems.append(Problem(text, level))

    def about(self, uid: str, text: str, detail: str = "", *, level: Literal["error", "warning"] = "error") -> None:
        """Add what is wrong with one segment; the detail of the first stands for all."""
        self.by_text.setdefault((text, level), []).append(uid)
        self.details.setdefault(text, detail)

    def all(self) -> list[Problem]:
        counted = [
            Problem(text + self.details[text], level, len(uids), tuple(uids[:_NUM_SHOWN]))
            for (text, level), uids in self.by_text.items()
        ]
        return [*self.problems, *counted]


def _check_head(top: Mapping[str, Any], challenge: Challenge, findings: _Findings) -> None:
    for name, wanted in (("version", challenge.version), ("challenge", challenge.task)):
        if name not in top:
            findings.add(f"'{name}' is missing; it must be {wanted!r}")
        elif top[name] != wanted:
            findings.add(f"'{name}' is {_shown(top[name])}; it must be the text {wanted!r}")
    for name in SLS_NAMES:
        if name not in top:
            if challenge.has_sls:
                findings.add(f"'{name}' is missing; state the supervision level, an integer in 0..{MAX_SLS}")
            continue
        level = top[name]
        if isinstance(level, bool) or not (isinstance(level, int | float) and level in range(MAX_SLS + 1)):
            findings.add(f"'{name}' is {_shown(level)}; supervision levels are integers in 0..{MAX_SLS}")
    known = {"version", "challenge", "results", *SLS_NAMES}
    for key in list(top)[: 2 * len(known)]:
        if key not in known:
            findings.add(f"the key {quote(key)} is unknown", level="warning")


class _Rows:
    """Reads the entries of `results` into arrays and notes what is wrong with each."""

    def __init__(self, uids: list[str], taxonomy: Taxonomy, challenge: Challenge, findings: _Findings) -> None:
        self.uids, self.taxonomy, self.findings = uids, taxonomy, findings
        self.row_of = {uid: row for row, uid in enumerate(uids)}
        self.num_classes: dict[Field, int] = {"verb": challenge.num_verbs, "noun": challenge.num_nouns}
        sizes: dict[Field, int] = {**self.num_classes, "action": NUM_ACTIONS}
        self.values = {name: np.zeros((len(uids), size)) for name, size in sizes.items()}
        self.action_ids = np.full((len(uids), NUM_ACTIONS), -1, dtype=np.int64)
        self.is_good = {name: np.zeros(len(uids), dtype=bool) for name in FIELDS}
        self.action_of_key = {f"{verb},{noun}": action for (verb, noun), action in taxonomy.action_of_pair.items()}
        self.known_keys: dict[tuple[Field, tuple[str, ...]], NDArray[np.int64]] = {}
        self.num_with_actions = 0

    def read(self, results: JsonObject | ScoreObject) -> None:
        entries = _mapping(results)
        for uid in results.repeated:
            self.findings.about(uid, "the narration id occurs twice")
        for uid in self.uids:
            if uid not in entries:
                self.findings.about(uid, "the narration id is missing")
        for uid, entry in entries.items():
            if uid not in self.row_of:
                self.findings.about(uid, "the narration id is not one of this split")
            else:
                self._read_entry(uid, entry)
        objects = [uid for uid in self.uids if isinstance(entries.get(uid), JsonObject | ScoreObject)]
        if objects and not self.num_with_actions:
            self.findings.add(
                "no segment has 'action' scores: the server ranks actions by the product of verb and noun "
                "probabilities instead",
                level="warning",
            )
        else:
            for uid in objects:
                if "action" not in _mapping(entries[uid]):
                    self.findings.about(uid, "'action' is missing, though other segments have it")
        self._check_ties()

    def _read_entry(self, uid: str, entry: Any) -> None:
        if not isinstance(entry, JsonObject | ScoreObject):
            self.findings.about(uid, "the entry is no object with 'verb', 'noun' and 'action'", f", but {_kind(entry)}")
            return
        parts = _mapping(entry)
        for key in entry.repeated:
            self.findings.about(uid, f"the key {quote(key)} occurs twice in the entry")
        for name in parts:
            if name not in FIELDS:
                self.findings.about(uid, "the entry has an unknown key", f": {quote(name)}", level="warning")
        for name in FIELDS:
            if name in parts:
                self._read_scores(uid, name, parts[name])
            elif name != "action":
                self.findings.about(uid, f"'{name}' is missing")
        self.num_with_actions += "action" in parts

    def _read_scores(self, uid: str, name: Field, value: Any) -> None:
        if not isinstance(value, JsonObject | ScoreObject):
            self.findings.about(uid, f"{name}: the scores are no object", f", but {_kind(value)}")
            return
        for key in value.repeated:
            self.findings.about(uid, f"{name}: a class occurs twice", f", e.g. {quote(key)}")
        keys = value.keys if isinstance(value, ScoreObject) else tuple(value)
        values = self._values_of(uid, name, value)
        order = self._actions_of(uid, keys) if name == "action" else self._order_of(uid, name, keys)
        if order is None or values is None or value.repeated:
            return
        row = self.row_of[uid]
        self.is_good[name][row] = True
        if name == "action":
            self.values[name][row], self.action_ids[row] = values, order
        else:
            self.values[name][row] = values[order]

    def _values_of(self, uid: str, name: Field, scores: JsonObject | ScoreObject) -> NDArray[np.float64] | None:
        """Return the scores, or None with the reason noted."""
        if isinstance(scores, ScoreObject):
            bad = np.flatnonzero(~np.isfinite(scores.values))
            if not len(bad):
                return scores.values
            key, value = scores.keys[bad[0]], float(scores.values[bad[0]])
            self.findings.about(uid, f"{name}: a score is not finite", f", e.g. {value} of class {quote(key)}")
            return None
        odd = next((pair for pair in scores.items() if not _is_number(pair[1])), None)
        if odd is not None:
            detail = f", e.g. {_shown(odd[1])} of class {quote(odd[0])}"
            self.findings.about(uid, f"{name}: a score is not a number", detail)
        return None

    def _order_of(self, uid: str, name: Field, keys: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Return where each class stands among the keys, or None with the reasons noted."""
        known = self.known_keys.get((name, keys))
        if known is not None:
            return known
        size = self.num_classes[name]
        malformed = [key for key in keys if not _CLASS_KEY.fullmatch(key)]
        places = {int(key): place for place, key in enumerate(keys) if _CLASS_KEY.fullmatch(key)}
        outside = sorted(class_id for class_id in places if class_id >= size)
        missing = [class_id for class_id in range(size) if class_id not in places]
        about = self.findings.about
        if malformed:
            about(uid, f"{name}: a class is not a plain number", f", e.g. {quote(malformed[0])}; write '3', not '03'")
        if outside:
            about(uid, f"{name}: a class is outside 0..{size - 1}", f", e.g. {outside[0]}")
        if missing:
            about(uid, f"{name}: not all {size} classes have a score", f", e.g. {missing[0]} has none")
        if malformed or outside or missing:
            return None
        order = np.array([places[class_id] for class_id in range(size)], dtype=np.int64)
        self.known_keys[name, keys] = order
        return order

    def _actions_of(self, uid: str, keys: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Return the action of each key, or None with the reasons noted."""
        about = self.findings.about
        if len(keys) != NUM_ACTIONS:
            about(uid, f"action: there must be exactly {NUM_ACTIONS} scores", f", e.g. {len(keys)}")
        ids = [self.action_of_key.get(key, -1) for key in keys]
        for key, action in zip(keys, ids, strict=True):
            if action >= 0:
                continue
            match = _ACTION_KEY.fullmatch(key)
            if not match:
                about(uid, "action: a key is not 'verb,noun'", f", e.g. {quote(key)}; write '3,5' without blanks")
            elif int(match[1]) >= self.num_classes["verb"] or int(match[2]) >= self.num_classes["noun"]:
                about(uid, "action: a verb or noun is outside the vocabulary", f", e.g. {quote(key)}")
            else:
                about(uid, UNKNOWN_PAIR, f", e.g. {quote(key)}", level="warning")
        if len(keys) != NUM_ACTIONS or min(ids) < 0:
            return None
        return np.array(ids, dtype=np.int64)

    def _check_ties(self) -> None:
        for name, values in self.values.items():
            rows = np.flatnonzero(self.is_good[name])
            if not len(rows) or values.shape[1] == 1:
                continue
            k = min(_TOP_K, values.shape[1] - 1)
            best = -np.partition(-values[rows], (0, k - 1, k, values.shape[1] - 1), axis=1)
            is_constant = best[:, 0] == best[:, -1]
            for row in rows[is_constant]:
                self.findings.about(
                    self.uids[row],
                    f"{name}: all scores are equal, so the server takes the highest ids; predict the class prior",
                )
            for row in rows[~is_constant & (best[:, k - 1] == best[:, k])]:
                self.findings.about(
                    self.uids[row],
                    f"{name}: ranks {k} and {k + 1} have equal scores; the server prefers the higher id",
                    level="warning",
                )

    def scores(self) -> SubmittedScores:
        """Return the arrays; only for files without errors."""
        is_complete = bool(self.is_good["action"].all()) and self.num_with_actions > 0
        return SubmittedScores(
            verb=self.values["verb"],
            noun=self.values["noun"],
            action=self.values["action"] if is_complete else None,
            action_ids=self.action_ids if is_complete else None,
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, ScoreObject):
        return dict(zip(value.keys, value.values.tolist(), strict=True))
    return value if isinstance(value, JsonObject) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "a truth value", str: "a text", list: "a list", int: "a number"}
    return names.get(type(value), "a number" if isinstance(value, float) else "an object")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float | int):
        return quote(f"{value:.6g}" if abs(value) < 1e300 else "a huge number")[1:-1]
    return _kind(value)
