"""Predictions of other code: scores with the uid of each row in a .npz, .json or .csv; other formats by their names.

Such a file does not say what its classes are called, which of them is true, and mostly not what its model saw: the data
set gives the first two, and without a protocol its numbers are marked. Nothing in a file is ever unpickled.
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
from sgear.predictions.challenge import EPIC100
from sgear.predictions.ordering import float32_in_order
from sgear.predictions.other_formats import HOW, PLAIN, READ_BACK, kind_of, refusal
from sgear.predictions.submission_json import MAX_BYTES, JsonObject, read_document
from sgear.predictions.submission_read import logits_of
from sgear.predictions.table import UNSTATED, Predictions
from sgear.predictions.table_file import checked_protocol
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
    document, problems = read_document(path, EPIC100, path.name)
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
