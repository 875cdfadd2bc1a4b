"""Chunks of avi: whether they follow each other without a hole, and where the index says that they are.

ffmpeg reads the index, too, but takes the first chunk that it finds for the first of the index, and lists what it has
met where there is no index. Both are wrong where the file is damaged, which is where they are asked.

Source:
    Microsoft's RIFF (idx1) and OpenDML 1.02, section 4 (indx, standard index chunks).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

HEAD_BYTES = 8
_LIST_HEAD_BYTES = 12
_LISTS = (b"RIFF", b"LIST")
_PALETTE = b"pc"
_NUM_PROBED = 32
# A size in a damaged file may be anything; the index of a day of film is smaller.
_LARGEST_INDEX = 1 << 26
_OLD_ENTRY = np.dtype([("chunk", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])
_SUPER_ENTRY = np.dtype([("offset", "<u8"), ("size", "<u4"), ("duration", "<u4")])
_NEW_ENTRY = np.dtype([("offset", "<u4"), ("size", "<u4")])
_NEW_HEAD_BYTES = 24
# The highest bit of a size says that the frame is no key frame.
_SIZE_BITS = 0x7FFFFFFF


def is_joined(descriptor: int, begin: int, end: int) -> bool:
    """Return whether whole chunks fill the bytes between two places of an open file.

    Raises:
        OSError: If the file cannot be read.
    """
    at = begin
    while at < end:
        head = os.pread(descriptor, HEAD_BYTES, at)
        if not _is_head(head):
            return False
        at = at + _LIST_HEAD_BYTES if head[:4] in _LISTS else chunk_end(descriptor, at)
    return at == end


def content_bytes(descriptor: int, at: int) -> int:
    """Return how long the content of the chunk is whose head stands at a byte.

    Raises:
        OSError: If the file cannot be read.
    """
    return int.from_bytes(os.pread(descriptor, HEAD_BYTES, at)[4:8], "little")


def chunk_end(descriptor: int, at: int) -> int:
    """Return where the chunk ends whose head stands at a byte.

    Raises:
        OSError: If the file cannot be read.
    """
    return end_of(at, content_bytes(descriptor, at))


def end_of(at: int, size: int) -> int:
    """Return where a chunk ends whose head stands at a byte and whose content has a size; all begin at even bytes."""
    return at + HEAD_BYTES + size + size % 2


def first_chunk(descriptor: int) -> int:
    """Return where the first chunk of pictures or sound begins; 0 if the file does not say.

    Raises:
        OSError: If the file cannot be read.
    """
    return next((begin for kind, begin, _ in _parts(descriptor) if kind == b"movi"), 0)


def indexed_frames(descriptor: int, stream_idx: int) -> dict[int, int]:
    """Return the number of each frame of a stream by the byte at which its content begins, from the index of the file.

    Frames without content, which repeat the one before, are counted and have no place.

    Args:
        descriptor: Open file.
        stream_idx: Place of the stream among all streams.

    Returns:
        Nothing if there is no index, or it does not fit the file.

    Raises:
        OSError: If the file cannot be read.
    """
    parts = list(_parts(descriptor))
    prefix = b"%02d" % stream_idx
    for kind, begin, end in parts:
        if kind == b"hdrl":
            description = os.pread(descriptor, min(end - begin, _LARGEST_INDEX), begin)
            places, sizes = _new_index(descriptor, description, prefix)
            if len(places):
                return _numbered(places, sizes)
    movi = next((begin for kind, begin, _ in parts if kind == b"movi"), 0)
    for kind, begin, end in parts:
        if kind == b"idx1":
            return _numbered(*_old_index(descriptor, begin, end, movi, prefix))
    return {}


def _numbered(places: NDArray[np.int64], sizes: NDArray[np.int64]) -> dict[int, int]:
    numbers = np.flatnonzero(sizes)
    return dict(zip(places[numbers].tolist(), numbers.tolist(), strict=True))


_Index = tuple[NDArray[np.int64], NDArray[np.int64]]
_NOTHING: _Index = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def _old_index(descriptor: int, begin: int, end: int, movi: int, prefix: bytes) -> _Index:
    """Return places and sizes of the frames of a stream from the index behind the pictures."""
    content = os.pread(descriptor, min(end - begin, _LARGEST_INDEX), begin)
    entries = _table(content, _OLD_ENTRY)
    chunks = entries["chunk"]
    entries = entries[np.char.startswith(chunks, prefix) & ~np.char.endswith(chunks, _PALETTE)]
    offsets, sizes = entries["offset"].astype(np.int64), entries["size"].astype(np.int64)
    # By the standard they count from the name of the list of pictures; some writers count from the file's beginning.
    for base in (max(0, movi - 4), 0):
        if _fits(descriptor, offsets + base, sizes, prefix):
            return offsets + base + HEAD_BYTES, sizes
    return _NOTHING


def _fits(descriptor: int, heads: NDArray[np.int64], sizes: NDArray[np.int64], prefix: bytes) -> bool:
    """Return whether most of the chunks stand where an index says."""
    rows = np.unique(np.linspace(0, len(heads) - 1, _NUM_PROBED).astype(np.int64)) if len(heads) else ()
    found = [os.pread(descriptor, HEAD_BYTES, int(heads[row])) for row in rows]
    num_right = sum(
        head[:2] == prefix and int.from_bytes(head[4:8], "little") == int(sizes[row])
        for head, row in zip(found, rows, strict=True)
    )
    return 2 * num_right > len(found)


def _new_index(descriptor: int, description: bytes, prefix: bytes) -> _Index:
    """Return places and sizes of the frames of a stream from the indices of a file of any size."""
    places, sizes = [], []
    at = description.find(b"indx")
    while at >= 0:
        head = description[at + HEAD_BYTES :][:_NEW_HEAD_BYTES]
        if len(head) == _NEW_HEAD_BYTES and head[8:10] == prefix:
            num_entries = int.from_bytes(head[4:8], "little")
            table = description[at + HEAD_BYTES + _NEW_HEAD_BYTES :][: num_entries * _SUPER_ENTRY.itemsize]
            for entry in _table(table, _SUPER_ENTRY):
                base, listed = _standard_index(descriptor, int(entry["offset"]), int(entry["size"]))
                places.append(base + listed["offset"].astype(np.int64))
                sizes.append(listed["size"].astype(np.int64) & _SIZE_BITS)
        at = description.find(b"indx", at + 1)
    return (np.concatenate(places), np.concatenate(sizes)) if places else _NOTHING


def _standard_index(descriptor: int, at: int, size: int) -> tuple[int, np.ndarray]:
    """Return from where one part of an index counts, and its entries; none where a damaged one points elsewhere."""
    file_bytes = os.fstat(descriptor).st_size
    part = os.pread(descriptor, min(size, _LARGEST_INDEX), at)[HEAD_BYTES:] if at < file_bytes else b""
    base = int.from_bytes(part[12:20], "little")
    used = part[_NEW_HEAD_BYTES:][: int.from_bytes(part[4:8], "little") * _NEW_ENTRY.itemsize]
    return (base, _table(used, _NEW_ENTRY)) if base < file_bytes else (0, _table(b"", _NEW_ENTRY))


def _table(content: bytes, entry: np.dtype) -> np.ndarray:
    return np.frombuffer(content, dtype=entry, count=len(content) // entry.itemsize)


def _parts(descriptor: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, begin and end of the content of each part of the first RIFF chunk."""
    at = _LIST_HEAD_BYTES
    while _is_head(head := os.pread(descriptor, _LIST_HEAD_BYTES, at)):
        end = chunk_end(descriptor, at)
        is_list = head[:4] == b"LIST"
        yield head[8:] if is_list else head[:4], at + (_LIST_HEAD_BYTES if is_list else HEAD_BYTES), end
        at = end


def _is_head(head: bytes) -> bool:
    return len(head) >= HEAD_BYTES and all(0x20 <= byte < 0x7F for byte in head[:4])
