"""Whether the pages of an LMDB are what its tree takes them for, looked at before the library follows them.

The library trusts its file: a page that an unfinished download left as zeros ends the process, and one that holds
something else is followed wherever it points. But every page of the tree says its own number and kind. So the pages
on the way to a key are read here first: branches and leaves alone, about a hundredth of a file of long rows. The rows
themselves have no checksum.
"""

from __future__ import annotations

import os
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError

_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_KINDS = {_BRANCH: "branch", _LEAF: "leaf", _OVERFLOW: "row"}
_KIND_BITS = 0xF
_BIG_DATA = 1
_NO_ROOT = 2**64 - 1
_VERSION = 1
_HEADER = struct.Struct("<Q4H")
_META = struct.Struct("<2I2Q I2H5Q I2H5Q 2Q")
_NODE_BYTES, _NUMBER_BYTES = 8, 8
_FEWEST_PAGE_BYTES = 512
_ABOVE_ALL_KEYS = b"\xff" * 512


@dataclass(frozen=True)
class _Tree:
    """Where a tree begins, how many levels it has, and how many entries a branch of it has at the least."""

    root: int
    depth: int
    fewest: int


@dataclass(frozen=True)
class _Meta:
    """What the newest of the two first pages says."""

    page_bytes: int
    free: _Tree
    main: _Tree
    last_page: int
    transaction: int


@dataclass(frozen=True)
class _Page:
    """A branch or a leaf whose entries all lie within it.

    Args:
        content: The whole page.
        places: Offset of each entry.
        key_bytes: Length of the key of each entry.
    """

    content: bytes
    places: list[int]
    key_bytes: list[int]

    def key(self, entry: int) -> bytes:
        begin = self.places[entry] + _NODE_BYTES
        return self.content[begin : begin + self.key_bytes[entry]]

    def child(self, entry: int) -> int:
        low, middle, high = struct.unpack_from("<3H", self.content, self.places[entry])
        return low | middle << 16 | high << 32

    def value(self, entry: int) -> tuple[int, int | None, int]:
        """Return the length of a value, the page it lies on (None: this one), and where in this page it begins."""
        low, high, flags, key_bytes = struct.unpack_from("<4H", self.content, self.places[entry])
        begin = self.places[entry] + _NODE_BYTES + key_bytes
        page = int.from_bytes(self.content[begin : begin + _NUMBER_BYTES], "little") if flags & _BIG_DATA else None
        return low | high << 16, page, begin


class LmdbPages:
    """Read the pages of an LMDB file that the library is about to follow.

    Files of another layout (big-endian or 32-bit machines, another version of the format) are left to the library.

    Args:
        file: The database; it is held open until `close`.

    Source:
        LMDB 0.9, libraries/liblmdb/mdb.c: MDB_page, MDB_meta, MDB_node, and the list of free pages.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_RDONLY)
        if hasattr(os, "posix_fadvise"):
            # Read-ahead would fetch the rows between two leaves.
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        first = os.pread(self._descriptor, _HEADER.size + _META.size, 0)
        has_layout = sys.byteorder == "little" and sys.maxsize > 2**32 and len(first) == _HEADER.size + _META.size
        self._is_known = has_layout and _META.unpack_from(first, _HEADER.size)[1] == _VERSION

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def require_length(self) -> None:
        """Refuse a truncated file; pages at its end that are free need never have been written.

        Raises:
            FeatureError: If a page that is in use lies behind the end of the file.
        """
        if not self._is_known:
            return
        meta = self._meta()
        absent = range(os.fstat(self._descriptor).st_size // meta.page_bytes, meta.last_page + 1)
        if absent:
            free = set(self._free_pages(meta))
            if not all(page in free for page in absent):
                raise self._truncated(meta)

    def require_sound(self, low: bytes, high: bytes) -> None:
        """Check all pages that a search for a key from `low` to `high`, or a step from there, may touch.

        Raises:
            FeatureError: Names the first page that is damaged.
        """
        if self._is_known:
            meta = self._meta()
            for _ in self._leaves(meta, meta.main, low, high):
                pass

    def require_rows(self, low: bytes, high: bytes) -> None:
        """Check that the long values of all keys from `low` to `high` begin on the pages that were written for them.

        Raises:
            FeatureError: Names the first key whose value is elsewhere, such as on a page of zeros.
        """
        if not self._is_known:
            return
        meta = self._meta()
        for leaf in self._leaves(meta, meta.main, low, high):
            for entry in range(len(leaf.places)):
                num_bytes, page, _ = leaf.value(entry)
                if page is not None and low <= leaf.key(entry) <= high:
                    self._require_row_page(meta, page, num_bytes, leaf.key(entry))

    def _meta(self) -> _Meta:
        first = self._parse_meta(0)
        second = self._parse_meta(first.page_bytes)
        return first if first.transaction >= second.transaction else second

    def _parse_meta(self, offset: int) -> _Meta:
        content = os.pread(self._descriptor, _META.size, offset + _HEADER.size)
        numbers = _META.unpack(content) if len(content) == _META.size else (0,) * 22
        free, main = numbers[4:12], numbers[12:20]
        if free[0] < _FEWEST_PAGE_BYTES:
            raise FeatureError(f"{self._file}: truncated or damaged within its first two pages; copy it again")
        return _Meta(
            page_bytes=free[0],
            free=_Tree(root=free[7], depth=free[2], fewest=1),
            main=_Tree(root=main[7], depth=main[2], fewest=2),
            last_page=numbers[20],
            transaction=numbers[21],
        )

    def _leaves(self, meta: _Meta, tree: _Tree, low: bytes, high: bytes) -> Iterator[_Page]:
        """Yield the leaves of a range of keys and one more on each side, checked from the root down."""
        if tree.root != _NO_ROOT:
            lower, _ = self._fences(meta, tree, low)
            _, upper = self._fences(meta, tree, high)
            yield from self._walk(meta, tree, lower, upper)

    def _fences(self, meta: _Meta, tree: _Tree, key: bytes) -> tuple[bytes, bytes]:
        """Return the nearest two keys of branches around a key: its leaf lies between them."""
        lower, upper = b"", _ABOVE_ALL_KEYS
        number = tree.root
        for _ in range(tree.depth - 1):
            page = self._page(meta, number, _BRANCH, tree.fewest)
            # The first key of a branch is empty, whatever comes before it.
            child = bisect_right(range(1, len(page.places)), key, key=page.key)
            lower = page.key(child) if child else lower
            upper = page.key(child + 1) if child + 1 < len(page.places) else upper
            number = page.child(child)
        return lower, upper

    def _walk(self, meta: _Meta, tree: _Tree, lower: bytes, upper: bytes) -> Iterator[_Page]:
        """Yield the leaves from that which ends at `lower` to that which begins at `upper`."""
        if tree.depth == 1:
            yield self._page(meta, tree.root, _LEAF)
            return
        page = self._page(meta, tree.root, _BRANCH, tree.fewest)
        later = range(1, len(page.places))
        first, last = bisect_left(later, lower, key=page.key), bisect_right(later, upper, key=page.key)
        for child in range(first, last + 1):
            below = replace(tree, root=page.child(child), depth=tree.depth - 1)
            yield from self._walk(meta, below, lower, upper)

    def _page(self, meta: _Meta, number: int, kind: int, fewest: int = 1) -> _Page:
        if number > meta.last_page:
            raise self._damaged(number, kind)
        content = os.pread(self._descriptor, meta.page_bytes, number * meta.page_bytes)
        if len(content) < meta.page_bytes:
            raise self._truncated(meta)
        own, _, flags, lower, upper = _HEADER.unpack_from(content)
        if own != number or flags & _KIND_BITS != kind:
            raise self._damaged(number, kind)
        num_entries = (lower - _HEADER.size) // 2
        words = np.frombuffer(content, "<u2").astype(np.int64)
        places = words[_HEADER.size // 2 :][: max(num_entries, 0)]
        if num_entries < fewest or not self._is_within(places, upper, meta.page_bytes):
            raise self._damaged(number, kind)
        low, high, entry_flags, key_bytes = (words[places // 2 + word] for word in range(4))
        ends = places + _NODE_BYTES + key_bytes
        if kind == _LEAF:
            ends = ends + np.where(entry_flags & _BIG_DATA, _NUMBER_BYTES, low | high << 16)
        if ends.max() > meta.page_bytes or (key_bytes[1 if kind == _BRANCH else 0 :] < 1).any():
            raise self._damaged(number, kind)
        return _Page(content, places.tolist(), key_bytes.tolist())

    @staticmethod
    def _is_within(places: NDArray[np.int64], upper: int, page_bytes: int) -> bool:
        has_room = places.min() >= upper >= _HEADER.size + 2 * len(places)
        return bool(has_room and places.max() <= page_bytes - _NODE_BYTES and not (places % 2).any())

    def _require_row_page(self, meta: _Meta, page: int, num_bytes: int, key: bytes) -> None:
        header, num_pages = b"", -(-(num_bytes + _HEADER.size) // meta.page_bytes)
        if page + num_pages <= meta.last_page + 1:
            header = os.pread(self._descriptor, _HEADER.size, page * meta.page_bytes)
        # It says its number of pages where others say how full they are; a value that became shorter keeps them all.
        own, _, flags, low, high = _HEADER.unpack(header) if len(header) == _HEADER.size else (0,) * 5
        if own != page or flags & _KIND_BITS != _OVERFLOW or low | high << 16 < num_pages:
            raise FeatureError(f"{self._damaged(page, _OVERFLOW)} (key {key.decode(errors='replace')!r})")

    def _free_pages(self, meta: _Meta) -> Iterator[int]:
        for leaf in self._leaves(meta, meta.free, b"", _ABOVE_ALL_KEYS):
            for entry in range(len(leaf.places)):
                num_bytes, page, begin = leaf.value(entry)
                if page is None:
                    listed = leaf.content[begin : begin + num_bytes]
                else:
                    self._require_row_page(meta, page, num_bytes, b"free pages")
                    listed = os.pread(self._descriptor, num_bytes, page * meta.page_bytes + _HEADER.size)
                # The first number says how many follow.
                count, *pages = np.frombuffer(listed, "<u8").tolist()
                yield from pages[:count]

    def _damaged(self, number: int, kind: int) -> FeatureError:
        return FeatureError(
            f"{self._file}: page {number} is damaged, it should be a {_KINDS[kind]} of the database and is not; the "
            "file was copied in part, or the disk lost a piece of it: copy it again"
        )

    def _truncated(self, meta: _Meta) -> FeatureError:
        needed, found = (meta.last_page + 1) * meta.page_bytes, os.fstat(self._descriptor).st_size
        return FeatureError(f"{self._file}: truncated, {found} of {needed} bytes are there; copy it again")
