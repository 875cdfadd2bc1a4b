"""Keys of an LMDB, the times they stand for, and what its values are.

RULSTM's rgb, flow and obj features (1024, 1024, 352) and AVT's irCSN-152 features (2048) share one key,
`P01_01_frame_0000000030.jpg`. Frame n counts as seen at n / fps: the released loaders read frame floor(t * fps) at t,
one before the frame on screen, and a film re-encoded to another rate may show a picture half a frame early.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sgear.features.lmdb_dtype import VALUE_DTYPES
from sgear.timing import TIME_TOLERANCE_S

_KEY = re.compile(r"([^{}]*)\{video\}([^{}]+)\{number:0(\d+)d\}([^{}]*)")


@dataclass(frozen=True, kw_only=True)
class LmdbLayout:
    """How keys and times of an LMDB belong together.

    Args:
        key: Format of a key: `{video}`, some text, then the frame number padded with zeros.
        fps: Rate of the numbering in frames per second, > 0. All published features count at 30.
        max_gap_s: A frame that is missing is replaced by the nearest earlier one, up to so many seconds before it.
            The default is the reach of AVT's loader: nine frames at 30 a second.
        dtype: What the values are, one of `VALUE_DTYPES`. All published features are float32.

    Raises:
        ValueError: If a value is out of range or the key has another form.

    Source:
        fpv-iplab/rulstm@1de783f RULSTM/dataset.py (keys, floor(t * 30)); facebookresearch/AVT@5ac3801
        datasets/epic_kitchens.py, EpicRULSTMFeatsReader (the same keys for irCSN-152, ten frames back).
    """

    key: str = "{video}_frame_{number:010d}.jpg"
    fps: float = 30.0
    max_gap_s: float = 0.3
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(
                f"key must look like '{{video}}_frame_{{number:010d}}.jpg' (the number last and padded with zeros, so "
                f"that keys are in order of time), got {self.key!r}"
            )
        if not (math.isfinite(self.fps) and self.fps > 0 and self.max_gap_s >= 0):
            raise ValueError(f"fps must be positive and max_gap_s not negative, got {self.fps} and {self.max_gap_s}")
        if self.dtype not in VALUE_DTYPES:
            raise ValueError(f"values of an LMDB are read as {', '.join(VALUE_DTYPES)}, got {self.dtype!r}")

    @property
    def reach(self) -> int:
        """Number of frames by which a row may come before the frame that is asked for."""
        return math.floor((self.max_gap_s + TIME_TOLERANCE_S) * self.fps)

    @property
    def reach_s(self) -> float:
        """Seconds by which a row may be older than an instant, up to the end of the frame that the instant lies in."""
        return round((self.reach + 1) / self.fps - 3 * TIME_TOLERANCE_S, 6)

    def parts(self, video_id: str) -> tuple[bytes, int, bytes]:
        """Return what all keys of a video begin with, the number of digits, and what they end with."""
        before, between, digits, after = self._parsed
        return f"{before}{video_id}{between}".encode(), int(digits), after.encode()

    def encode(self, video_id: str, number: int) -> bytes:
        """Return the key of a frame."""
        return self.key.format(video=video_id, number=number).encode()

    def parse(self, key: bytes) -> tuple[str, int] | None:
        """Return video and frame number of a key, or None for a key of another form."""
        before, between, digits, after = self._parsed
        pattern = rf"{re.escape(before)}(.+){re.escape(between)}(\d{{{digits}}}){re.escape(after)}"
        found = re.fullmatch(pattern, key.decode("utf-8", errors="replace"))
        return (found[1], int(found[2])) if found else None

    @property
    def _parsed(self) -> tuple[str, ...]:
        match = _KEY.fullmatch(self.key)
        assert match is not None, "the key was checked when the layout was made"
        return match.groups()


RULSTM = LmdbLayout()
"""The layout of RULSTM's and AVT's published features."""
