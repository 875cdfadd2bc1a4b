"""Which format a file of predictions has that this package did not write, told by its content."""

from __future__ import annotations

import zipfile
from pathlib import Path

from sgear.errors import PredictionError
from sgear.files import require_regular_file

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
