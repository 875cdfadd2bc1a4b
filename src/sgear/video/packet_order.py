"""What a demuxer does not say: that packets are missing before the one that it gives.

After damage a demuxer goes on with the next thing it understands. In avi, whose frames have no times but their number,
every later frame would then come too early; in Matroska the last frame before the hole would stand for all that were
lost. So each packet is held against the structure of the file.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path

import av

from sgear.errors import VideoError
from sgear.files import HoldsDescriptor
from sgear.video import ebml, riff
from sgear.video.container_bytes import stated_bytes


@dataclass(frozen=True)
class Hole:
    """Packets are missing before another one.

    Args:
        lost: Their numbers, where these are known.
        is_end: Whether it is unknown how many are missing, so that what follows has no times.
    """

    lost: tuple[int, ...] = ()
    is_end: bool = False


class PacketOrder(ABC):
    """Follows the packets of one stream as they are read, each reading from `begin` on."""

    @abstractmethod
    def begin(self, *, at_start: bool) -> None:
        """Forget the packets before.

        Args:
            at_start: Whether the next packet is the first of the file.
        """

    @abstractmethod
    def hole_before(self, packet: av.Packet) -> Hole | None:
        """Return what is missing before a packet; the empty one at the end stands for the end of the file."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""


class StatedOrder(PacketOrder):
    """Nothing is held against anything: the container has times and says itself what is lost, or an index rules it."""

    def begin(self, *, at_start: bool) -> None:
        """Do nothing."""

    def hole_before(self, packet: av.Packet) -> Hole | None:
        """Return None."""
        return None

    def close(self) -> None:
        """Do nothing."""


class _FileOrder(HoldsDescriptor, PacketOrder):
    """Looks into the file beside the demuxer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def hole_before(self, packet: av.Packet) -> Hole | None:
        """Return what is missing before a packet.

        Raises:
            VideoError: If the file cannot be read.
        """
        try:
            return self._hole_before(packet)
        except OSError as err:
            raise VideoError(f"{self._path}: the file cannot be read ({err.strerror}); check its disk") from err

    @abstractmethod
    def _hole_before(self, packet: av.Packet) -> Hole | None: ...


class AviOrder(_FileOrder):
    """Gives each packet of an avi its number as its `dts`: its place in the index, not among those that were found.

    Where there is no index, or the index misses entries, packets are counted as long as chunk follows on chunk.

    Args:
        path: File.
        stream_idx: Place of the pictures among all streams.
    """

    def __init__(self, path: Path, stream_idx: int) -> None:
        super().__init__(path)
        self._indexed = riff.indexed_frames(self._descriptor, stream_idx)
        self._numbers = sorted(self._indexed.values())
        self._first_chunk = riff.first_chunk(self._descriptor)
        self.begin(at_start=True)

    def begin(self, *, at_start: bool) -> None:
        """Forget the packets before."""
        assert at_start, "avi is read from its start only"
        self._number_at = self._indexed
        self._number, self._counted, self._end = -1, -1, self._first_chunk

    def _hole_before(self, packet: av.Packet) -> Hole | None:
        if packet.pos is None or packet.dts is None:
            return self._lost(before=None) if self._number_at else None
        head = packet.pos - riff.HEAD_BYTES
        size = riff.content_bytes(self._descriptor, head)
        # ffmpeg reads by the index, too, and that may be damaged.
        if packet.size != size:
            return Hole(is_end=True)
        following = self._number + packet.dts - self._counted
        number = self._number_at.get(packet.pos)
        hole = None
        if number is not None and number >= following:
            hole = self._lost(before=number) if number > following else None
        elif not riff.is_joined(self._descriptor, self._end, head):
            return Hole(is_end=True)
        else:
            # An index that counts less than there is has lost entries itself.
            number, self._number_at = following, {} if number is not None else self._number_at
        self._number, self._counted = number, packet.dts
        self._end = riff.end_of(head, size)
        packet.dts = number
        return hole

    def _lost(self, *, before: int | None) -> Hole | None:
        begin = bisect_right(self._numbers, self._number)
        end = len(self._numbers) if before is None else bisect_left(self._numbers, before)
        return Hole(lost=tuple(self._numbers[begin:end])) if end > begin else None


class EbmlOrder(_FileOrder):
    """Walks the elements of a Matroska file from each packet to the next.

    Args:
        path: File.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        num_bytes = path.stat().st_size
        self._num_bytes, self._last_byte = num_bytes, stated_bytes(path) or num_bytes
        self._at: int | None = None
        self._begin: int | None = None

    def begin(self, *, at_start: bool) -> None:
        """Forget the packets before."""
        self._at, self._begin = (0 if at_start else None), None

    def _hole_before(self, packet: av.Packet) -> Hole | None:
        if packet.pos is None:
            return self._hole_at_end()
        # Several packets may be laced into one block.
        if packet.pos == self._begin:
            return None
        is_known = self._at is not None
        block = ebml.block_after(self._descriptor, self._at, packet.pos) if self._at is not None else None
        self._begin = packet.pos
        self._at = ebml.block_end(self._descriptor, packet.pos, packet.size) if block is None else block.end
        return Hole() if is_known and block is None else None

    def _hole_at_end(self) -> Hole | None:
        if self._at is None:
            return None
        broken_at = ebml.first_break(self._descriptor, self._at, self._last_byte, num_bytes=self._num_bytes)
        return None if broken_at is None else Hole()


def packet_order(path: Path, container_name: str, stream_idx: int) -> PacketOrder:
    """Return what follows the packets of a film.

    Args:
        path: File.
        container_name: What ffmpeg calls the container.
        stream_idx: Place of the pictures among all streams.

    Raises:
        VideoError: If the file cannot be read.
    """
    try:
        if container_name == "avi":
            return AviOrder(path, stream_idx)
        return EbmlOrder(path) if container_name.startswith("matroska") else StatedOrder()
    except OSError as err:
        raise VideoError(f"{path}: the file cannot be read ({err.strerror}); check its disk") from err
