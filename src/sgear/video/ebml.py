"""Elements of Matroska and webm, as far as it takes to see where their structure breaks.

A file is a row of elements: a number that says what it is, a number that says how long it is, and its content. Where
that row does not lead from one picture to the next, something between them was overwritten.

Source:
    RFC 8794, section 4 (numbers of variable length); RFC 9559, section 5 (Segment, Cluster, BlockGroup, blocks).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

HEADER, SEGMENT = 0x1A45DFA3, 0x18538067
_CLUSTER, _BLOCK_GROUP = 0x1F43B675, 0xA0
_PARENTS = frozenset({SEGMENT, _CLUSTER, _BLOCK_GROUP})
_LONGEST_ID, _LONGEST_SIZE = 4, 8


@dataclass(frozen=True)
class Element:
    """One element of a file.

    Args:
        kind: Number that says what it is.
        begin: Where its content begins, in bytes.
        end: Where it ends; None where it does not say.
    """

    kind: int
    begin: int
    end: int | None

    @property
    def following(self) -> int | None:
        """Where the next element begins, which is inside of one that holds others; None where that is not known."""
        return self.begin if self.kind in _PARENTS else self.end


def read_element(descriptor: int, at: int) -> Element | None:
    """Return the element at a byte of an open file, or None if there is none.

    Raises:
        OSError: If the file cannot be read.
    """
    head = os.pread(descriptor, _LONGEST_ID + _LONGEST_SIZE, at)
    length = _length(head, 0, _LONGEST_ID)
    size_length = _length(head, length, _LONGEST_SIZE) if length else 0
    if not size_length:
        return None
    kind = int.from_bytes(head[:length], "big")
    largest = (1 << 7 * size_length) - 1
    size = int.from_bytes(head[length : length + size_length], "big") & largest
    begin = at + length + size_length
    return Element(kind, begin, None if size == largest else begin + size)


def first_break(descriptor: int, begin: int, end: int, *, num_bytes: int) -> int | None:
    """Return the byte at which a row of elements breaks off, or None if it leads to the end.

    Args:
        descriptor: Open file.
        begin: Where the first element begins.
        end: Where the last element ends; after the end of the file where that is truncated, which is no break.
        num_bytes: Size of the file.

    Raises:
        OSError: If the file cannot be read.
    """
    at = begin
    while at < min(end, num_bytes):
        element = read_element(descriptor, at)
        following = None if element is None else element.following
        if following is None or following > end:
            return at
        at = following
    return None


def _length(head: bytes, at: int, longest: int) -> int:
    """Return the length in bytes of the number that begins there; 0 if none does."""
    if at >= len(head):
        return 0
    length = 9 - head[at].bit_length()
    return length if length <= longest and at + length <= len(head) else 0
