"""How many bytes a film should have by its own structure, so that one lost byte at the end is noticed.

The boxes of mp4 and mov, the segment of Matroska and the chunks of avi say how long they are. Nothing is decoded.

Source:
    ISO/IEC 14496-12, section 4.2 (boxes); RFC 8794, section 4 (Matroska); Microsoft's RIFF and OpenDML 1.02 (avi).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from sgear.video import ebml

_BOXES = frozenset(
    b"ftyp moov mdat free skip wide uuid moof mfra sidx ssix styp udta meta pnot PICT emsg prft".split(b" ")
)
_LONGEST_EBML_HEADER = 4096
# Some writers count the eight bytes of the chunk's own head, too.
_RIFF_SLACK = 8


def stated_bytes(path: Path) -> int:
    """Return up to which byte a film says that it goes; 0 where its format does not say.

    Args:
        path: Video file of any format.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(12)
        if begin[4:8] in _BOXES:
            return _end_of_boxes(file, path.stat().st_size)
        if begin[:4] == ebml.HEADER.to_bytes(4, "big"):
            return _end_of_segment(file)
        if begin[:4] == b"RIFF" and begin[8:12] == b"AVI ":
            return _end_of_chunks(file, path.stat().st_size)
    return 0


def _end_of_boxes(file: BinaryIO, num_bytes: int) -> int:
    end = 0
    while end < num_bytes:
        file.seek(end)
        head = file.read(16)
        # What follows the last box of a known kind, such as padding of a camera, is not counted.
        if head[4:8] not in _BOXES:
            return end
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        # A box of size 0 goes to the end of the file, wherever that is.
        if size < 8:
            return end
        end += size
    return end


def _end_of_segment(file: BinaryIO) -> int:
    at = 0
    while at < _LONGEST_EBML_HEADER:
        element = ebml.read_element(file.fileno(), at)
        if element is None or element.end is None:
            return 0
        if element.kind == ebml.SEGMENT:
            return element.end
        at = element.end
    return 0


def _end_of_chunks(file: BinaryIO, num_bytes: int) -> int:
    end = 0
    while end < num_bytes:
        file.seek(end)
        head = file.read(8)
        if head[:4] != b"RIFF" or len(head) < 8:
            break
        end += 8 + int.from_bytes(head[4:8], "little")
    return max(0, end - _RIFF_SLACK)
