"""A video that was taken apart into numbered images, wherever they lie.

What a folder and a tar file have in common: file names become frame numbers, numbers become times, and an image is
decoded when it is asked for. A number that is not there is an error, never a neighbor in its place.
"""

from __future__ import annotations

import io
import math
import os
import re
import tarfile
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sgear.errors import VideoError
from sgear.files import HoldsDescriptor, require_regular_file
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.base import (
    MAX_PIXELS,
    FrameBatch,
    Size,
    Video,
    VideoSpan,
    check_played,
    checked_timestamps,
    require_bearable,
)

_TAR_BLOCK = 512
# gzip, bzip2, xz, zstandard.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_NAME = re.compile(r"((?:.*/)?(?!\.)[^/]*?)([0-9]{1,18})\.(?:jpg|jpeg|png)", flags=re.DOTALL | re.IGNORECASE)
_FORMATS = ("JPEG", "PNG")
# Other modes hold more than eight bits, and converting them would cut values off.
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
# Far finer than any rate in use, and k * denominator stays exact in float64 for a day of frames.
_MAX_RATE_DENOMINATOR = 1_000_000


class NumberedImages(Video):
    """Frames of one video from images `frame_0000000001.jpg`, `frame_0000000002.jpg`, ...

    The number is what the file name ends with; any prefix is fine, but one only. Numbers count from 1, as ffmpeg and
    EPIC-KITCHENS write them: image n is shown from (n - 1) / fps. If there is an image 0, they count from 0, and
    image n is shown from n / fps. Images are upright (EXIF rotation applied), RGB, and all of one size.

    Args:
        path: Folder or archive, for messages.
        names: File names in it, as they are listed; what is not a numbered image is skipped.
        size: See `Video.resize`.
        frame_fps: Rate at which the images were numbered, in frames per second.

    Raises:
        VideoError: If there are no numbered images, names contradict each other, `frame_fps` is not given, or no
            image can be decoded.
        ValueError: If `size` or `frame_fps` is not positive.

    Source:
        EPIC-KITCHENS-100 rgb_frames (frame_0000000001.jpg is the first); RULSTM's features have other times, see
        `sgear.features.lmdb_layout`.
    """

    def __init__(
        self, path: Path, names: Sequence[str], *, size: Size | Callable[[Size], Size] | None, frame_fps: float | None
    ) -> None:
        self.path = path
        self._rate = _checked_rate(path, frame_fps)
        self._names = names
        self._numbers, self._rows = _by_number(path, names)
        self._origin = 0 if self._numbers[0] == 0 else 1
        self.fps, self.num_frames = float(self._rate), len(self._numbers)
        self.first_pts_s = self._pts_s(self._first_intact(range(self.num_frames)))
        assert self._own_size is not None, "an image was decoded just now"
        self.height, self.width = self._own_size
        self.resize(size)
        self._last_pts_s: float | None = None

    # Of the first image that was decoded; all others have it, too.
    _own_size: Size | None = None

    @abstractmethod
    def _read(self, row: int) -> bytes:
        """Return the bytes of the image `names[row]`; OSError if that fails."""

    @property
    def duration_s(self) -> float:
        """Time at which the last image ends, in seconds."""
        return self._pts_s(int(self._numbers[-1]) + 1)

    @property
    def last_pts_s(self) -> float:
        """Time of the last image that can be decoded."""
        if self._last_pts_s is None:
            self._last_pts_s = self._pts_s(self._first_intact(range(len(self._numbers) - 1, -1, -1)))
        return self._last_pts_s

    @property
    def end_s(self) -> float:
        """When the last image that can be decoded has been shown."""
        return self.last_pts_s + 1 / self.fps

    def frames_played_at(self, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """See `Video.frames_played_at`; an image that is missing or of another size is a VideoError."""
        asked_s = checked_timestamps(np.asarray(timestamps_s, dtype=np.float64), self.path)
        numbers = [self._number_at(float(t_s)) for t_s in asked_s]
        images = np.empty((len(numbers), *self.size, 3), dtype=np.uint8)
        for number in sorted(set(numbers)):
            rows = [row for row, wanted in enumerate(numbers) if wanted == number]
            images[rows] = self._decode(number, float(asked_s[rows[0]]))
        return FrameBatch.from_images(images, np.array([self._pts_s(number) for number in numbers]))

    def iterate(self, start_s: float = 0.0) -> Iterator[tuple[UInt8[Tensor, "3 H W"], float]]:
        """Yield every image and its time, from the one played at `start_s` to the last; see `Video.iterate`."""
        checked_timestamps(np.array([start_s]), self.path)
        for number in range(self._number_at(start_s), int(self._numbers[-1]) + 1):
            pts_s = self._pts_s(number)
            image = self._decode(number, max(start_s, pts_s))
            yield torch.from_numpy(image).permute(2, 0, 1), pts_s

    def _pts_s(self, number: int) -> float:
        # Of whole numbers, so that it is the float nearest to the true time, as it is for a video file.
        return (number - self._origin) * self._rate.denominator / self._rate.numerator

    def _number_at(self, t_s: float) -> int:
        last = int(self._numbers[-1])
        check_played(self.path, t_s, 0.0, VideoSpan(self._pts_s(last), self._pts_s(last + 1)))
        latest_s = t_s + TIME_TOLERANCE_S
        number = self._origin + math.floor(latest_s * self._rate.numerator / self._rate.denominator)
        while self._pts_s(number + 1) <= latest_s:
            number += 1
        while self._pts_s(number) > latest_s:
            number -= 1
        return min(number, last)

    def _decode(self, number: int, t_s: float) -> NDArray[np.uint8]:
        place = int(np.searchsorted(self._numbers, number))
        if self._numbers[place] != number:
            raise VideoError(
                f"{self.path}: image number {number} (played at t = {t_s:.3f} s) is missing, there are "
                f"{len(self._numbers)} images from {self._numbers[0]} to {self._numbers[-1]}; copy or extract "
                "them again, or leave out the segments around this time"
            )
        row = int(self._rows[place])
        try:
            image = self._image(row)
        except (VideoError, OSError) as err:
            raise VideoError(
                f"{self.path}: the image {self._names[row]} (played at t = {t_s:.3f} s) cannot be used: {err}; "
                "fetch or make it again, or leave out the segments around this time"
            ) from err
        return image if image.shape[:2] == self.size else self._converter.resize(image)

    def _image(self, row: int) -> NDArray[np.uint8]:
        image = _opened(self._read(row))
        size = image.height, image.width
        self._own_size = self._own_size or size
        if size != self._own_size:
            raise VideoError(
                f"it has {size[1]} x {size[0]} pixels, other images of this video have "
                f"{self._own_size[1]} x {self._own_size[0]}"
            )
        return np.array(image)

    def _first_intact(self, places: Iterable[int]) -> int:
        failure = ""
        for place in places:
            row = int(self._rows[place])
            try:
                self._image(row)
            except (VideoError, OSError) as err:
                failure = failure or f"{self._names[row]}: {err}"
            else:
                return int(self._numbers[place])
        raise VideoError(
            f"{self.path}: none of the {len(self._numbers)} images can be decoded, such as {failure}; "
            "fetch or make them again"
        )


def _opened(content: bytes) -> Image.Image:
    """Return a jpeg or png, upright and in RGB; VideoError if it is damaged, too large or has more than eight bits."""
    if not content:
        raise VideoError("the file is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            # Our own limit follows; the library's warning would only come before it.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
        require_bearable(image.height, image.width, image.format)
        if image.mode not in _MODES:
            raise VideoError(f"its pixels have more than eight bits ({image.mode}); convert it to eight")
        image.load()
        return ImageOps.exif_transpose(image).convert("RGB")
    except Image.DecompressionBombError as err:
        raise VideoError(f"images of more than {MAX_PIXELS} pixels are refused; make a smaller copy") from err
    except UnidentifiedImageError as err:
        raise VideoError("it is neither a jpeg nor a png, or its beginning is damaged") from err
    except (OSError, SyntaxError, ValueError) as err:
        raise VideoError(f"it is damaged ({err})") from err


def _checked_rate(path: Path, frame_fps: float | None) -> Fraction:
    if frame_fps is None:
        raise VideoError(
            f"{path}: images do not say at which rate they were taken; give it as frame_fps (--frame-fps), the "
            "frames per second of the numbering, such as 60 for EPIC-KITCHENS-55 and 50 for most videos that "
            "EPIC-KITCHENS-100 added"
        )
    if not (math.isfinite(frame_fps) and frame_fps > 0):
        raise ValueError(f"frame_fps must be a positive number of frames per second, got {frame_fps}")
    return Fraction(frame_fps).limit_denominator(_MAX_RATE_DENOMINATOR)


def _by_number(path: Path, names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers in ascending order, and the place of each in `names`."""
    matches = {row: match for row, name in enumerate(names) if (match := _NAME.fullmatch(name))}
    if not matches:
        raise VideoError(
            f"{path}: no numbered images here; expected names such as frame_0000000001.jpg (.jpg, .jpeg or .png), "
            "or the path of a video file"
        )
    prefixes = dict.fromkeys(match[1] for match in matches.values())
    if len(prefixes) > 1:
        one, other = islice(prefixes, 2)
        raise VideoError(
            f"{path}: images of several videos or kinds lie here, named {one + '*'!r} and {other + '*'!r}; "
            "move each into a folder or archive of its own"
        )
    numbers, rows = [int(match[2]) for match in matches.values()], list(matches)
    order = np.argsort(numbers, kind="stable")
    ascending, row_of = np.array(numbers, dtype=np.int64)[order], np.array(rows, dtype=np.int64)[order]
    twice = np.flatnonzero(np.diff(ascending) == 0)
    if len(twice):
        one, other = (names[int(row)] for row in row_of[twice[0] : twice[0] + 2])
        raise VideoError(f"{path}: {one!r} and {other!r} have the same number; remove one of them")
    return ascending, row_of


class FrameFolder(NumberedImages):
    """Images directly in one folder; see `NumberedImages` for names, times, arguments and errors.

    Raises:
        VideoError: If there is no such folder, it cannot be listed, or `NumberedImages` refuses what is in it.
    """

    def __init__(
        self, path: Path | str, *, size: Size | Callable[[Size], Size] | None = None, frame_fps: float | None = None
    ) -> None:
        folder = Path(path)
        self._is_open = True
        try:
            if not folder.is_dir():
                raise VideoError(f"{folder}: no such folder of images; check the path and the data root")
            names = os.listdir(folder)
        except OSError as err:
            raise VideoError(f"{folder}: the folder cannot be listed ({err.strerror}); check its permissions") from err
        super().__init__(folder, names, size=size, frame_fps=frame_fps)

    def close(self) -> None:
        """Make reading an error; no file stays open between two readings."""
        self._is_open = False

    def _read(self, row: int) -> bytes:
        if not self._is_open:
            raise ValueError(f"{self.path}: this video was closed; open it again")
        image = self.path / self._names[row]
        require_regular_file(image, VideoError)
        return image.read_bytes()


class FrameTar(HoldsDescriptor, NumberedImages):
    """Images in one uncompressed tar file; see `NumberedImages` for names, times, arguments and errors.

    All headers are read once, when it is opened: some seconds for 100,000 images. After that an image is
    one read at a known place. Nothing is ever extracted or written.

    Raises:
        VideoError: If there is no such file, it is unreadable, compressed, truncated, damaged or has links in it, or
            `NumberedImages` refuses what is in it.
    """

    def __init__(
        self, path: Path | str, *, size: Size | Callable[[Size], Size] | None = None, frame_fps: float | None = None
    ) -> None:
        file = Path(path)
        require_regular_file(file, VideoError)
        try:
            self._descriptor = os.open(file, os.O_RDONLY)
        except OSError as err:
            raise VideoError(
                f"{file}: the file cannot be read ({err.strerror}); check its permissions and those of its folders"
            ) from err
        try:
            names, self._offsets, self._sizes = _members(file, self._descriptor)
            super().__init__(file, names, size=size, frame_fps=frame_fps)
        except BaseException:
            self.close()
            raise

    def _read(self, row: int) -> bytes:
        if self._descriptor < 0:
            raise ValueError(f"{self.path}: this video was closed; open it again")
        # Not seek and read: a forked process shares the position of the file, but not this.
        return os.pread(self._descriptor, int(self._sizes[row]), int(self._offsets[row]))


def _members(path: Path, descriptor: int) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return name, first byte and length of each file in a tar file; all its headers are read.

    Raises:
        VideoError: If it is compressed, truncated, damaged or no tar file; if a member is no regular file, or its name
            leaves the archive.
    """
    total = os.fstat(descriptor).st_size
    begin = os.pread(descriptor, _TAR_BLOCK, 0)
    if not begin:
        raise VideoError(f"{path}: the file is empty (0 bytes), its copy or download failed; fetch it again")
    if begin.startswith(_COMPRESSED):
        raise VideoError(
            f"{path}: a compressed archive has no random access; decompress it once, such as with 'gzip -d' "
            "(images hardly grow by it)"
        )
    names, places = [], []
    with os.fdopen(os.dup(descriptor), "rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    # Else the library keeps 1 kB of each.
                    archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
                    _check_member(path, member, total)
                    if member.isfile():
                        names.append(_within(path, member.name))
                        places.append((member.offset_data, member.size))
        except (tarfile.TarError, ValueError, OSError, EOFError) as err:
            raise VideoError(f"{path}: not a tar file, or damaged ({err}); fetch it again") from err
        # The library takes a damaged header for the end, where two blocks of zeros should be.
        end = os.pread(descriptor, _TAR_BLOCK, archive.offset)
    if len(end) < _TAR_BLOCK or any(end):
        what = "its end mark is missing" if not any(end) else f"the header at byte {archive.offset} is damaged"
        raise VideoError(f"{path}: {what}, the archive is truncated or overwritten; fetch it again")
    offsets, sizes = np.array(places, dtype=np.int64).reshape(-1, 2).T
    return names, offsets, sizes


def _check_member(path: Path, member: tarfile.TarInfo, total: int) -> None:
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise VideoError(
            f"{path}: {member.name!r} is a link, a device or sparse, only regular files are read; pack the images "
            "themselves, with 'tar --dereference --hard-dereference'"
        )
    if member.size < 0 or member.offset_data + member.size > total:
        raise VideoError(
            f"{path}: the archive is truncated, {member.name!r} should end at byte {member.offset_data + member.size} "
            f"of {total}; fetch it again"
        )


def _within(path: Path, name: str) -> str:
    inner = name
    while inner.startswith("./"):
        inner = inner[2:].lstrip("/")
    if inner.startswith("/") or ".." in inner.split("/"):
        raise VideoError(
            f"{path}: member {name!r} points out of the archive; it was not made for this purpose, do not unpack it"
        )
    return inner
