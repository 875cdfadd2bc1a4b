"""Where the members of an uncompressed tar file lie, from one pass over its headers.

Nothing is extracted. Every header is held against its checksum and the length of the file, so a truncated or damaged
archive is found when it is opened; the standard library's reader takes both for the end of the archive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sgear.errors import VideoError

_BLOCK = 512
_REGULAR = (b"0", b"\0", b"7")
_PLAIN_KINDS = {b"1": "hard link", b"2": "symbolic link", b"3": "device", b"4": "device", b"6": "pipe"}
# The longest name or set of attributes that is read; real ones take less than a hundredth.
_MAX_EXTENSION_BYTES = 1 << 20
# Of a number in an extended header; those of a size of 2^63 bytes.
_MAX_DIGITS = 19
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip -d",
    b"BZh": "bzip2 -d",
    b"\xfd7zXZ\0": "xz -d",
    b"\x28\xb5\x2f\xfd": "zstd -d",
}


@dataclass(eq=False)
class TarIndex:
    """Regular members of an archive: names without a leading `./`, and where their bytes begin and how many."""

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


class _Header(NamedTuple):
    name: str
    kind: bytes
    size: int
    offset: int


def index_tar(path: Path, descriptor: int) -> TarIndex:
    """List the regular members of an open tar file. Directories are passed over.

    Args:
        path: File that messages name.
        descriptor: Open file; its position is neither used nor moved.

    Raises:
        VideoError: If the file is compressed, truncated, damaged or no tar file; if a member is a link, a device or
            sparse, or its name leaves the archive (absolute, or with `..`).

    Source:
        POSIX.1-1988 ustar, POSIX.1-2001 pax (records `path` and `size`), GNU long names and base-256 sizes.
    """
    index = TarIndex()
    for header in _members(path, descriptor):
        if header.kind == b"5" or header.name.endswith("/"):
            continue
        if header.kind not in _REGULAR:
            kind = _PLAIN_KINDS.get(header.kind, f"member of type {header.kind.decode('latin-1')!r}")
            raise VideoError(
                f"{path}: {header.name!r} is a {kind}, only regular files are read; pack the pictures themselves, "
                "with 'tar --dereference --hard-dereference'"
            )
        name = header.name
        while name.startswith("./"):
            name = name[2:].lstrip("/")
        if name.startswith("/") or ".." in name.split("/"):
            raise VideoError(
                f"{path}: member {header.name!r} points out of the archive; it was not made for this purpose, "
                "do not unpack it"
            )
        index.names.append(name)
        index.offsets.append(header.offset)
        index.sizes.append(header.size)
    return index


def _members(path: Path, descriptor: int) -> Iterator[_Header]:
    """Yield the members, with long names and sizes from the extension headers before them."""
    total = os.fstat(descriptor).st_size
    position = 0
    extension: dict[str, str] = {}
    while True:
        block = os.pread(descriptor, _BLOCK, position)
        if position == 0:
            _require_tar(path, block)
        if len(block) < _BLOCK:
            raise VideoError(f"{path}: the archive ends at byte {total} without its end mark; fetch it again")
        if block.count(0) == _BLOCK:
            return
        header = _parsed(path, block, position)
        size = int(extension.get("size", header.size)) if header.kind in _REGULAR else header.size
        if header.offset + size > total:
            raise VideoError(
                f"{path}: the archive is truncated, {header.name!r} should end at byte {header.offset + size} of "
                f"{total}; fetch it again"
            )
        position = header.offset + -(-size // _BLOCK) * _BLOCK
        if header.kind in (b"x", b"L"):
            content = os.pread(descriptor, min(size, _MAX_EXTENSION_BYTES), header.offset)
            extension |= _pax_records(path, content) if header.kind == b"x" else {"path": _text(content)}
        elif header.kind not in (b"g", b"K"):
            if any(key.startswith("GNU.sparse") for key in extension):
                raise VideoError(f"{path}: {header.name!r} is a sparse member; pack it without 'tar --sparse'")
            yield _Header(extension.get("path", header.name), header.kind, size, header.offset)
            extension = {}


def _require_tar(path: Path, block: bytes) -> None:
    if not block:
        raise VideoError(f"{path}: the file is empty (0 bytes), its copy or download failed; fetch it again")
    for magic, remedy in _COMPRESSIONS.items():
        if block.startswith(magic):
            raise VideoError(
                f"{path}: a compressed archive has no random access; decompress it once with '{remedy}' "
                "(pictures hardly grow by it)"
            )
    if len(block) < _BLOCK:
        raise VideoError(f"{path}: not a tar file, or truncated within its first header; fetch it again")


def _parsed(path: Path, block: bytes, position: int) -> _Header:
    try:
        checksum = int(block[148:156].rstrip(b"\0 ") or b"-1", 8)
    except ValueError:
        checksum = -1
    if checksum != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        what = "not a tar file" if position == 0 else f"the header at byte {position} is damaged"
        raise VideoError(f"{path}: {what} (its checksum is wrong); fetch it again")
    name = _text(block[:100])
    if block[257:262] == b"ustar" and block[345] and block[262:263] == b"\0":
        name = f"{_text(block[345:500])}/{name}"
    return _Header(name, block[156:157], _number(path, block[124:136], position), position + _BLOCK)


def _number(path: Path, content: bytes, position: int) -> int:
    if content[0] == 0x80:
        return int.from_bytes(content[1:], "big")
    digits = content.strip(b"\0 ") or b"0"
    # Not by int() alone, which takes signs: a negative size would lead back to a header that was read before.
    if not digits.isdigit() or set(digits) & set(b"89"):
        raise VideoError(f"{path}: the header at byte {position} states no size; fetch it again")
    return int(digits, 8)


def _pax_records(path: Path, content: bytes) -> dict[str, str]:
    """Parse lines `<length> <key>=<value>`, where the length counts the whole record."""
    records: dict[str, str] = {}
    while content.strip(b"\0"):
        length_text, _, _ = content.partition(b" ")
        if not _is_count(_text(length_text)) or not len(length_text) + 1 < int(length_text) <= len(content):
            raise VideoError(f"{path}: an extended header is damaged; fetch the archive again")
        length = int(length_text)
        key, _, value = content[len(length_text) + 1 : length].rstrip(b"\n").partition(b"=")
        records[_text(key)] = _text(value)
        content = content[length:]
    if not _is_count(records.get("size", "0")):
        raise VideoError(
            f"{path}: an extended header states a size of {records['size'][:_MAX_DIGITS]!r}; fetch the archive again"
        )
    return records


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _text(content: bytes) -> str:
    return content.split(b"\0", 1)[0].decode("utf-8", errors="surrogateescape")
