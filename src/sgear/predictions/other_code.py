"""Predictions of other code: a .npz, .json or .csv of scores with uids, or a submission file.

A plain file does not say what its classes are called, which of them is true, and mostly not what its model saw: the
data set gives the first two, and without a protocol its numbers are marked. Nothing in a file is ever unpickled.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.predictions.fusion import float32_in_order, log_probabilities
from sgear.predictions.other_files import HOW, MAX_BYTES, PLAIN, READ_BACK, JsonObject, kind_of, read_document, refusal
from sgear.predictions.submission import EPIC100, NUM_ACTIONS, Challenge
from sgear.predictions.submission_check import UNKNOWN_PAIR, inspect
from sgear.predictions.table import UNSTATED, Predictions, checked_protocol
from sgear.segments import UNKNOWN_ACTION
from sgear.taxonomy import Taxonomy

_ARRAYS = ("uids", "scores", "verb_scores", "noun_scores", "protocol")


def read_plain(path: Path, *, taxonomy: Taxonomy, targets: Mapping[str, int]) -> Predictions:
    """Read the predictions of other code.

    Scores of a field without a negative one are taken as probabilities and become their logarithms; others are taken
    as logits.

    Args:
        path: A .npz, .json or .csv, by its content; docs/submissions.md says what it must hold.
        taxonomy: Vocabulary of the data set; column i of the scores is its action i.
        targets: True action of each segment that can be meant, -1 where it is not known.

    Raises:
        PredictionError: If the file is of another format, damaged, or does not fit the data set.
    """
    kind = kind_of(path)
    if kind not in PLAIN:
        raise PredictionError(refusal(path, kind) if kind else f"{path}: of no format that is known here; {HOW}")
    try:
        parts = {"npz": _npz, "json": _json, "csv": _csv}[kind](path)
        uids = tuple(map(str, parts["uids"]))
        scores = {name: _scores(parts[name], name) for name in _ARRAYS[1:4] if name in parts}
        if unknown := [uid for uid in uids if uid not in targets]:
            raise PredictionError(
                f"{len(unknown)} of {len(uids)} uids are of no segment of the data set, first {unknown[0]!r}"
            )
        return Predictions(
            uids=uids,
            logits=scores["scores"],
            targets=np.array([targets[uid] for uid in uids], dtype=np.int64),
            taxonomy=taxonomy,
            protocol=parts.get("protocol", UNSTATED),
            provenance={"file": path.name, "format": kind},
            verb_logits=scores.get("verb_scores"),
            noun_logits=scores.get("noun_scores"),
        )
    except PredictionError as err:
        raise PredictionError(f"{path}: {err}") from err


def _scores(values: Any, name: str) -> NDArray[np.float32]:
    try:
        scores = np.asarray(values)
    except ValueError as err:
        raise PredictionError(f"the rows of {name} are not of one length ({err})") from err
    if scores.ndim != 2 or scores.dtype.kind not in "fiu":
        raise PredictionError(f"{name} must be numbers [segments, classes], got {scores.dtype} of shape {scores.shape}")
    return float32_in_order(logits_of(name, scores.astype(np.float64)))


def _named(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a file that names them."""
    missing = [name for name in _ARRAYS[:2] if name not in found]
    unknown = [name for name in found if name not in _ARRAYS]
    if missing or unknown:
        wanted = f"{' and '.join(_ARRAYS[:2])}, perhaps {', '.join(_ARRAYS[2:])}"
        raise PredictionError(f"expected {wanted}; got {', '.join(found)[:200] or 'nothing'}. {HOW}")
    parts = dict(found)
    if "protocol" in parts:
        stated = parts["protocol"]
        try:
            parts["protocol"] = checked_protocol(stated if isinstance(stated, dict) else json.loads(str(stated)))
        except (ValueError, RecursionError) as err:
            raise PredictionError(f"protocol must be an object such as that of a report.json, in JSON ({err})") from err
    return parts


def _npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            largest = max((info.file_size for info in archive.infolist()), default=0)
        if largest > MAX_BYTES:
            raise PredictionError(f"holds an array of {largest} bytes, more than {MAX_BYTES}; save scores as float32")
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            parts = _named({name: arrays[name] for name in arrays.files})
    except PredictionError:
        raise
    except Exception as err:
        # Bytes that are no such file make zip and numpy raise errors of every kind.
        reason = " ".join(str(err).split())[:160]
        raise PredictionError(
            f"not a whole .npz of plain arrays ({reason}); nothing in it was executed. {HOW}"
        ) from err
    uids = np.atleast_1d(parts["uids"])
    if uids.dtype.kind not in "USiu":
        raise PredictionError(f"uids must be text, got {uids.dtype}; save numpy.array(uids, dtype=str)")
    text = np.char.decode(uids, "utf-8", "replace") if uids.dtype.kind == "S" else uids
    return parts | {"uids": text.ravel().tolist()}


def _json(path: Path) -> dict[str, Any]:
    document, problems = read_document(path, (), path.name)
    if problems:
        raise PredictionError(str(problems[0]))
    if not isinstance(document, JsonObject):
        raise PredictionError(f'expected {{"uids": [...], "scores": [[...], ...]}} or {{UID: [...], ...}}. {HOW}')
    if document.repeated:
        raise PredictionError(f"uid {document.repeated[0]!r} occurs more than once; each segment is predicted once")
    if "results" in document:
        raise PredictionError(f"a submission, which says no class order of its actions; {READ_BACK}")
    if "scores" in document or not all(isinstance(row, list) for row in document.values()):
        return _named(document)
    return {"uids": list(document), "scores": list(document.values())}


def _csv(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = file.readline(1 << 20).strip().split(",")
    if [name.strip().strip('"') for name in header] != ["uid", *map(str, range(len(header) - 1))]:
        raise PredictionError(
            f"the first line must be uid,0,1,...: a column for the uid and one for each action, by its id; got "
            f"{','.join(header)[:60]!r}. {HOW}"
        )
    types: Sequence[Any] = [pl.String, *[pl.Float64] * (len(header) - 1)]
    try:
        frame = pl.read_csv(path, schema=dict(zip(["uid", *header[1:]], types, strict=True)))
    except (pl.exceptions.PolarsError, OSError, ValueError) as err:
        reason = str(err).splitlines()[0]
        raise PredictionError(f"a line does not hold a uid and {len(header) - 1} numbers ({reason[:160]})") from err
    return {"uids": frame["uid"].fill_null("").to_list(), "scores": frame.drop("uid").to_numpy()}


_MAX_LOGIT = 1e30
_NUM_SHOWN = 5


def read_submission(
    path: Path,
    *,
    uids: Sequence[str],
    taxonomy: Taxonomy,
    protocol: dict[str, float | str],
    targets: NDArray[np.int64] | None = None,
    challenge: Challenge = EPIC100,
    member: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Predictions:
    """Read a submission file as predictions.

    Scores of a field without a negative one are taken as probabilities and become their logarithms; a field with
    negative scores is taken as it is. Verbs and nouns get logits of their own. Actions without a score share what the
    scored ones leave of the probability, but rank below all of them and are equal among themselves, so numbers with
    k <= 100 are those of the file.

    Args:
        path: The zip, or its bare JSON.
        uids: All segments of the split.
        taxonomy: Vocabulary of the data set.
        protocol: The protocol under which the scores were made, as `to_dict()`; the file does not say it.
        targets: True action of each uid [M]. Default: not known.
        challenge: The challenge it was written for.
        member: File inside the zip. Default: the challenge's first.
        max_bytes: Limit of the size of the JSON.

    Returns:
        The table, in the order of `uids`.

    Raises:
        ValueError: If the uids repeat or the vocabulary is not the challenge's.
        PredictionError: If anything is wrong with the file; says what, and how many more problems there are.
    """
    problems, scores = inspect(path, uids, taxonomy, challenge, member, max_bytes)
    reasons = [problem for problem in problems if problem.level == "error" or problem.text.startswith(UNKNOWN_PAIR)]
    if scores is None or reasons:
        shown = "; ".join(str(problem) for problem in reasons[:_NUM_SHOWN])
        more = f"; and {len(reasons) - _NUM_SHOWN} more" if len(reasons) > _NUM_SHOWN else ""
        raise PredictionError(f"{path}: not a valid submission: {shown}{more}")
    if scores.action is None or scores.action_ids is None:
        raise PredictionError(f"{path}: the file has no action scores, so there are no actions to evaluate")
    return Predictions(
        uids=tuple(uids),
        logits=_action_logits(path, scores.action, scores.action_ids, taxonomy.num_actions),
        targets=np.full(len(uids), UNKNOWN_ACTION) if targets is None else targets,
        taxonomy=taxonomy,
        protocol=protocol,
        provenance={"submission": path.name, "challenge": challenge.name},
        verb_logits=float32_in_order(logits_of(path, scores.verb)),
        noun_logits=float32_in_order(logits_of(path, scores.noun)),
    )


def logits_of(where: Path | str, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return foreign scores as logits: without a negative one they are probabilities, else logits already.

    Raises:
        PredictionError: If a score is too large to be either; says `where`.
    """
    if np.abs(scores).max(initial=0.0) > _MAX_LOGIT:
        raise PredictionError(f"{where}: scores beyond {_MAX_LOGIT:g} are neither probabilities nor logits")
    return log_probabilities(scores) if (scores >= 0).all() else scores


def _action_logits(
    path: Path, scores: NDArray[np.float64], action_ids: NDArray[np.int64], num_actions: int
) -> NDArray[np.float32]:
    given = logits_of(path, scores)
    lowest = given.min(axis=1)
    num_others = num_actions - NUM_ACTIONS
    share = np.maximum(1.0 - scores.sum(axis=1), 0.0) / max(num_others, 1)
    # Half of the lowest score is the most that the others may have; of a huge one, a step that float64 still sees.
    others = lowest - np.maximum(np.log(2.0), 1e-9 * np.abs(lowest))
    if (scores >= 0).all():
        others = np.minimum(others, log_probabilities(share))
    scored = float32_in_order(np.concatenate([given, others[:, None]], axis=1))
    logits = np.repeat(scored[:, -1:], num_actions, axis=1)
    np.put_along_axis(logits, action_ids, scored[:, :-1], axis=1)
    return logits
