"""The file of a table of predictions: safetensors, with JSON texts in its header and a checksum over everything.

A number that changed on a disk or on the way is found by the checksum; a file that was never one of ours is found by
the types of its parts. Either way the reader gets one error with the file's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sgear.errors import AnnotationError, PredictionError
from sgear.files import replacing
from sgear.predictions.other_formats import kind_of, refusal
from sgear.taxonomy import Taxonomy

FORMAT = "sgear-predictions-2"
FORMAT_WITHOUT_CHECKSUM = "sgear-predictions-1"
_CHECKSUM = "sha256"
_TEXTS = ("uids", "taxonomy", "protocol", "provenance")
_DTYPES = {"logits": "F32", "targets": "I64", "verb_logits": "F32", "noun_logits": "F32"}
_REQUIRED = ("logits", "targets")


def write_table_file(path: Path, *, tensors: Mapping[str, NDArray], texts: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all.

    Args:
        path: File to write.
        tensors: Arrays by name, float32 scores and int64 targets.
        texts: JSON values of `uids`, `taxonomy`, `protocol` and `provenance`.

    Raises:
        WriteError: If it cannot be written; nothing is left then.
    """
    header = {"format": FORMAT, **{name: json.dumps(texts[name]) for name in _TEXTS}}
    header[_CHECKSUM] = _checksum(header, tensors)
    with replacing(path) as partial:
        save_file(dict(tensors), partial, metadata=header)


def read_table_file(path: Path) -> dict[str, Any]:
    """Read a file written by `write_table_file`.

    Returns:
        The fields of `Predictions`, with the types that they must have; their values are not compared yet.

    Raises:
        PredictionError: If the file is missing, damaged, or not a table of predictions; names other formats.
    """
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
