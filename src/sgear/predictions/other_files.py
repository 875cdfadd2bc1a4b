"""Open files of unknown origin: their format by content; a zip or a bare JSON, at most `MAX_BYTES`, every key seen.

Nothing is unpacked to disk. Objects that hold only numbers become one array each while they are parsed, which keeps a
hundred megabytes of scores small, and keys that occur twice are kept for the report instead of overwriting each other.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.files import require_regular_file

MAX_BYTES = 1 << 30
"""The largest known files of these challenges have about 300 MB."""
_ZIP_MAGIC = b"PK"
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a submission file.

    Args:
        text: What is wrong, in one sentence.
        level: `error` if the server refuses the file or gives a wrong number, `warning` otherwise.
        num_segments: How many segments it is about; 0 if it is about the file.
        uids: The first of them.
    """

    text: str
    level: Literal["error", "warning"] = "error"
    num_segments: int = 0
    uids: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.num_segments:
            return self.text
        names = ", ".join(quote(uid) for uid in self.uids)
        more = ", ..." if self.num_segments > len(self.uids) else ""
        return f"{self.text} ({self.num_segments} segments: {names}{more})"


class JsonObject(dict[str, Any]):
    """An object of a JSON file, with the keys that it repeats."""

    repeated: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreObject:
    """An object whose values are all numbers: keys, and values as float64 [K]."""

    keys: tuple[str, ...]
    values: NDArray[np.float64]
    repeated: tuple[str, ...] = ()


def quote(text: str, limit: int = 40) -> str:
    """Return a foreign text in quotes, printable anywhere and not too long."""
    shown = ascii(text[:limit])
    return shown if len(text) <= limit else f"{shown[:-1]}...{shown[-1]}"


def read_document(
    path: Path, members: Sequence[str], member: str, *, max_bytes: int = MAX_BYTES
) -> tuple[Any, list[Problem]]:
    """Read and parse a submission file.

    Args:
        path: A zip or a bare JSON file.
        members: Files that a zip must have.
        member: The one to read.
        max_bytes: Limit of the size of the JSON.

    Returns:
        The parsed JSON, with `JsonObject` or `ScoreObject` for its objects, and what is wrong with the file. The
        first is None where there is nothing to parse.
    """
    try:
        require_regular_file(path, PredictionError)
        with path.open("rb") as file:
            is_zip = file.read(2) == _ZIP_MAGIC
        if is_zip:
            data, problems = _read_zip(path, members, member, max_bytes)
        else:
            size = path.stat().st_size
            problems = [] if size <= max_bytes else [_too_large(path.name, size, max_bytes)]
            if path.suffix == ".zip":
                problems.append(Problem(f"{path.name} is not a zip archive, whatever its name says"))
            data = None if size > max_bytes else path.read_bytes()
    except PredictionError as err:
        return None, [Problem(str(err))]
    except OSError as err:
        return None, [Problem(f"{path}: cannot be read ({err.strerror or err})")]
    if data is None:
        return None, problems
    document, more = _parse(data, member if is_zip else path.name)
    return document, [*problems, *more]


def _too_large(name: str, size: int, max_bytes: int) -> Problem:
    return Problem(f"{name} has {size} bytes, more than {max_bytes}; write scores with fewer digits and without blanks")


def _read_zip(path: Path, members: Sequence[str], member: str, max_bytes: int) -> tuple[bytes | None, list[Problem]]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            problems = _check_names([info.filename for info in infos], members, member)
            found = [info for info in infos if info.filename == member]
            if not found:
                return None, problems
            # The last of several entries of one name is the one that programs extract.
            info = found[-1]
            if info.flag_bits & _ENCRYPTED:
                return None, [*problems, Problem(f"{member} is encrypted; zip it without a password")]
            if info.compress_type not in _READABLE:
                return None, [*problems, Problem(f"{member} is packed with an unusual method; use 'zip' as it is")]
            if info.file_size > max_bytes:
                return None, [*problems, _too_large(member, info.file_size, max_bytes)]
            with archive.open(info) as file:
                data = file.read(max_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as err:
        return None, [Problem(f"{path.name} is a damaged zip archive ({err or type(err).__name__}); zip it again")]
    if len(data) != info.file_size:
        sizes = f"{member} holds {len(data)} bytes, its directory says {info.file_size}"
        return None, [Problem(f"{path.name} is a damaged zip archive ({sizes}); zip it again")]
    return data, problems


def _check_names(names: list[str], members: Sequence[str], member: str) -> list[Problem]:
    wanted = ", ".join(members)
    problems = []
    for expected in dict.fromkeys((member, *members)):
        if expected in names:
            continue
        inside = [name for name in names if name.replace("\\", "/").endswith(f"/{expected}")]
        hint = f"; it is inside a folder ({quote(inside[0])}), but must lie flat" if inside else ""
        problems.append(Problem(f"the zip has no {expected}{hint}"))
    twice = sorted({name for name in names if names.count(name) > 1})[:3]
    problems += [Problem(f"the zip has {names.count(name)} entries of the name {quote(name)}") for name in twice]
    unsafe = [name for name in names if _is_unsafe(name)]
    if unsafe:
        problems.append(
            Problem(f"the zip has {len(unsafe)} names that point outside its folder, e.g. {quote(unsafe[0])}")
        )
    extra = [name for name in dict.fromkeys(names) if name not in (member, *members)]
    if extra:
        shown = ", ".join(quote(name) for name in extra[:3])
        problems.append(Problem(f"the zip has {len(extra)} entries besides {wanted}: {shown}"))
    return problems


def _is_unsafe(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]


def _parse(data: bytes, name: str) -> tuple[Any, list[Problem]]:
    problems = []
    if data.startswith(_BOM):
        problems.append(Problem(f"{name} begins with a byte order mark, which the server refuses; save it as UTF-8"))
        data = data[len(_BOM) :]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        return None, [*problems, Problem(f"{name} is not UTF-8 text (byte {err.start}); save it as UTF-8")]
    try:
        return json.loads(text, object_pairs_hook=_object), problems
    except json.JSONDecodeError as err:
        return None, [
            *problems,
            Problem(f"{name} is not JSON: {err.msg} in line {err.lineno}, column {err.colno}; is it truncated?"),
        ]
    except RecursionError:
        return None, [*problems, Problem(f"{name} is nested too deeply to be a submission")]
    except ValueError as err:
        return None, [*problems, Problem(f"{name} is not JSON that can be read ({err})")]


def _object(pairs: list[tuple[str, Any]]) -> JsonObject | ScoreObject:
    keys = tuple(key for key, _ in pairs)
    repeated: tuple[str, ...] = ()
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        repeated = tuple(dict.fromkeys(key for key in keys if key in seen or seen.add(key)))
    # bool is a number to Python, not to us.
    if keys and {type(value) for _, value in pairs} <= {int, float}:
        try:
            return ScoreObject(keys, np.array([value for _, value in pairs], dtype=np.float64), repeated)
        except OverflowError:
            pass
    result = JsonObject(pairs)
    result.repeated = repeated
    return result


PLAIN = {"npz": "a numpy archive (.npz)", "json": "JSON", "csv": "text, such as csv"}
"""What can be read where the data set is known."""
_REFUSED = {
    "npy": "a single numpy array (.npy), which has no place for uids",
    "pth": "a file of torch.save, which is a pickle",
    "pkl": "a pickle, which could execute anything",
    "submission": "a zipped submission",
    "zip": "a zip archive",
    "hdf5": "an HDF5 file",
    "parquet": "a parquet file",
}
_BEGINNINGS = {b"\x93NUMPY": "npy", b"\x89HDF": "hdf5", b"PAR1": "parquet", b"{": "json", b"[": "json"}
HOW = "numpy.savez(FILE, uids=..., scores=...) makes a file that can be read (docs/submissions.md, section 6)"
READ_BACK = "read it with read_submission (docs/submissions.md, section 5)"


def kind_of(path: Path) -> str:
    """Return the format of a file of other code by its content; empty where it can be one of this package.

    Raises:
        PredictionError: If there is no such file, or it is no regular one.
    """
    require_regular_file(path, PredictionError)
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pkl"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = next((kind for beginning, kind in _BEGINNINGS.items() if text.startswith(beginning)), "")
    # The length of the header, with which a safetensors file begins, has bytes that no text has.
    is_text = bool(head) and not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)
    return found or ("csv" if is_text else "")


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:
        # A damaged directory makes zipfile raise errors of every kind.
        return "zip"
    endings = {".npy": "npz", "data.pkl": "pth", ".json": "submission"}
    return next((kind for ending, kind in endings.items() if any(name.endswith(ending) for name in names)), "zip")


def refusal(path: Path, kind: str) -> str:
    """Return why a file of another format is no table of this package, and what to do."""
    if kind in PLAIN:
        return f"{path}: not a predictions file of sgear but {PLAIN[kind]}; name its data set with --dataset"
    remedy = READ_BACK if kind == "submission" else HOW
    return f"{path}: not a predictions file of sgear but {_REFUSED[kind]}; {remedy}"
