"""Frames that leave a decoder -> frames in the order of their times, those marked that refer to something damaged.

A decoder hides damage: it fills holes with old pixels, and goes on from a broken image until the next key frame. For
the marks, frames are held back until all packets that were decoded before them have come out: a B-frame is shown before
the later image it was predicted from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import av

# Times in containers are rounded, so neighbors are not all equally far apart.
_LARGEST_SPACING = 1.5


@dataclass
class RowFrame:
    """A frame of the row.

    Args:
        order: Place of its packet among those that were decoded.
        pts: Its time in units of the stream's time base.
        image: The image; None where it cannot be decoded.
    """

    order: int
    pts: int
    image: av.VideoFrame | None


class FrameRow:
    """Takes in packets and images as they come, and gives out what no later damage can reach any more.

    Args:
        is_timed: Whether the container says when frames are shown; else their numbers are their times.
        begins_anywhere: Whether the first packet may be any of the video, so that a frame without a time has none.
        period: Average distance of two frames in units of the stream's time base.
    """

    def __init__(self, *, is_timed: bool, begins_anywhere: bool, period: int) -> None:
        self._is_timed = is_timed
        self._period = period
        self._is_certain = not begins_anywhere
        self._shortest = period
        self._inside: dict[int, int] = {}
        self._damage: list[int] = []
        self._held: list[RowFrame] = []
        self._latest: int | None = None
        self._newest = -1

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was shown so far, and nothing is damaged."""
        return self._latest is None and not self._damage

    def expect(self, pts: int, order: int) -> None:
        """Take note that a packet was sent to the decoder that should give a frame."""
        self._inside[pts] = self._newest = order

    def fail(self, order: int) -> None:
        """Take note that the packet `order` is damaged."""
        self._damage.append(order)
        self._is_certain = False

    def show(self, image: av.VideoFrame, order: int) -> bool:
        """Take in an image that came out after the packet `order` was sent.

        Returns:
            False if its time is not after that of the image before, and no damage accounts for it.
        """
        # In avi the pts are guesses that may run backwards; the decode times count the shown frames.
        stated = image.pts if self._is_timed else image.dts
        if not self._is_timed and stated is not None and self._latest is not None and stated <= self._latest:
            stated = None
        if stated is None and self._latest is None and not self._is_certain:
            return True
        pts = stated if stated is not None else 0 if self._latest is None else self._latest + self._period
        # After damage a decoder may let go of a frame late, when its turn has passed and it counts as lost.
        if self._latest is not None and pts <= self._latest:
            return bool(self._damage)
        own = self._inside.pop(pts, order)
        self._held += self._lost(before=pts)
        if self._latest is not None:
            self._shortest = min(self._shortest, pts - self._latest)
        self._latest = pts
        if image.is_corrupt:
            self._damage.append(own)
            for frame in self._held:
                frame.image = None if frame.order > own else frame.image
        elif image.key_frame:
            self._damage = [failed for failed in self._damage if failed >= own]
        # Where frames were lost, a frame without a time may be a later one.
        self._is_certain = self._is_certain or stated is not None
        is_damaged = not self._is_certain or any(failed <= own for failed in self._damage)
        self._held.append(RowFrame(own, pts, None if is_damaged else image))
        return True

    def settled(self) -> Iterator[RowFrame]:
        """Give out the frames before which no packet is inside the decoder any more."""
        while self._held and min(self._inside.values(), default=math.inf) > self._held[0].order:
            yield self._held.pop(0)

    def rest(self) -> list[RowFrame]:
        """Give out everything, at the end of the video."""
        rest = [*self._held, *self._lost(before=math.inf)]
        if self._is_timed and self._latest is not None and max(self._damage, default=-1) > self._newest:
            # What is missing behind the last packet left no time behind either.
            last_pts = max((frame.pts for frame in rest), default=self._latest)
            rest.append(RowFrame(self._newest, last_pts + self._shortest, None))
        return rest

    def _lost(self, *, before: int | float) -> list[RowFrame]:
        """Take out the packets whose turn has passed. Without damage nearby they never held a frame to show."""
        passed = [(pts, self._inside.pop(pts)) for pts in sorted(pts for pts in self._inside if pts < before)]
        if not self._damage:
            return []
        lost = [RowFrame(order, pts, None) for pts, order in passed]
        following = lost[0].pts if lost else before
        if self._is_pause(following):
            assert self._latest is not None, "a pause comes after a frame"
            lost.insert(0, RowFrame(min(self._damage), self._latest + self._shortest, None))
        return lost

    def _is_pause(self, following: int | float) -> bool:
        """Packets that never came left no time behind: beside damage, a pause is taken for what was lost."""
        if not self._is_timed or self._latest is None or following == math.inf:
            return False
        return following - self._latest > _LARGEST_SPACING * self._shortest
