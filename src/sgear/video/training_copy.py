"""One video -> its training copy: small images, a key frame every few frames, the same times.

A copy says in its own header from which file and with which settings it was made, so nothing has to lie beside it. It
gets its name only after it has been read again and checked against the video.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import PictureType
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from sgear.errors import VideoError
from sgear.files import replacing, require_regular_file, require_unchanged, state_of
from sgear.video.base import Orientation, damaged_frame_error, orientation_of
from sgear.video.decoding import DecodedFrame, StreamDecoder, with_kept

_COPY_FORMAT = "sgear-copy-2"
# Entry of the record of a copy: the content of the video that it was made of.
_SOURCE_KEY = "source"
_CHUNK_BYTES = 1 << 16
# Without CABAC and the deblocking filter a copy is a fifth larger and decoded in half the time.
_ENCODER = "libx264 veryfast fastdecode"
# Numbers of ITU-T H.273, table 4.
_RGB_MATRIX, _UNKNOWN_MATRIX = 0, 2


@dataclass(frozen=True, kw_only=True)
class CopySettings:
    """How training copies are made.

    Args:
        short_side: Shorter side of the image in pixels, even. A smaller video keeps its size.
        enlarge: Enlarge smaller videos, too.
        gop: Largest distance of two key frames, in frames: what one random access decodes, whatever the frame rate.
        crf: Quality of x264, 0 to 51; lower is better and larger.
        fps: Keep only the frames that are played at i/fps seconds, with their own times. Default: every frame.

    Raises:
        ValueError: If a value is out of range.
    """

    short_side: int = 256
    enlarge: bool = False
    gop: int = 15
    crf: int = 20
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.short_side < 16 or self.short_side % 2:
            raise ValueError(f"short_side must be even and at least 16 pixels, got {self.short_side}")
        if self.gop < 1 or not 0 <= self.crf <= 51:
            raise ValueError(f"gop must be at least 1 and crf from 0 to 51, got {self.gop} and {self.crf}")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ValueError(f"fps must be positive, got {self.fps}")

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return the size (height, width) of the copy of a video; both are even, as half-size chroma asks."""
        scale = self.short_side / min(height, width)
        if scale >= 1 and not self.enlarge:
            return max(2, height // 2 * 2), max(2, width // 2 * 2)
        return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)


@dataclass(frozen=True)
class CopyReport:
    """What was written.

    Args:
        length_s: Length in seconds.
        num_bytes_read: Size of the video.
        num_bytes: Size of the copy.
    """

    length_s: float
    num_bytes_read: int
    num_bytes: int


def video_content(path: Path) -> str:
    """Return 24 hexadecimal digits of the content of a video; a training copy has those of the video it was made of.

    They are made of the size of the file and of 64 kB at its beginning, middle and end. Videos that are equal in all
    of that are equal: these bytes are compressed images, and often the index of the sizes of all others. So 700 large
    videos are told apart by 140 MB. A video that was encoded again by other tools is another one.

    Args:
        path: Video file, or tar file of images.

    Returns:
        Nothing for a folder of images, of which all would have to be listed, and for a file that cannot be read.
    """
    try:
        size = path.stat().st_size if path.is_file() else 0
        if not size:
            return ""
        digest, chunk = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=12), b""
        with path.open("rb") as file:
            for begin in (0, (size - _CHUNK_BYTES) // 2, size - _CHUNK_BYTES):
                file.seek(max(0, begin))
                chunk = file.read(_CHUNK_BYTES)
                digest.update(chunk)
    except OSError:
        # Reading its images says what is wrong with it.
        return ""
    # The record of a copy lies at the end of its file.
    source = _copy_record(path).get(_SOURCE_KEY) if _COPY_FORMAT.encode() in chunk else None
    return source if isinstance(source, str) and source else digest.hexdigest()


def _copy_record(copy: Path) -> dict[str, Any]:
    """Return what a training copy says of itself; nothing where a file is none, or cannot be opened."""
    try:
        with av.open(str(copy), metadata_errors="ignore") as container:
            told = json.loads(container.metadata.get("comment", "{}"))
    except (FFmpegError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def is_copy(copy: Path, source: Path, settings: CopySettings) -> bool:
    """Return whether a whole copy of exactly this video with exactly these settings is there.

    Raises:
        VideoError: If there is no such video.
    """
    if not copy.is_file():
        return False
    # The index of an mp4 comes last, so a truncated copy does not open: it is made again.
    told = _copy_record(copy)
    told.pop(_SOURCE_KEY, None)
    return told == _origin(source, settings)


def make_copy(
    source: Path, copy: Path, settings: CopySettings, *, progress: Callable[[float], None] | None = None
) -> CopyReport:
    """Write the copy of one video; it appears whole and checked, or not at all.

    A copy of the same name is replaced. What earlier workers left half-written of it is removed.

    Args:
        source: Video file.
        copy: File to write.
        settings: How.
        progress: Called with the seconds of video that are done.

    Raises:
        VideoError: If the video is missing, truncated or damaged anywhere, or the copy is not as the video.
        WriteError: If the copy cannot be written.
    """
    before = state_of(source)
    origin = json.dumps(_origin(source, settings) | {_SOURCE_KEY: video_content(source)}, sort_keys=True)
    with replacing(copy) as partial:
        with closing(StreamDecoder(source)) as decoder, partial.open("w+b") as file:
            video = _Video(decoder, settings, progress)
            _encode(video, file, settings, origin)
        if missing := decoder.missing_end(num_frames=video.num_read, end_s=video.end_s):
            raise VideoError(f"{source}: {missing}; fetch it again")
        if fault := copy_fault(partial, video.times_s, video.size, settings.gop):
            raise VideoError(
                f"{source}: its copy {fault}, so it was removed; please report this with the video's format"
            )
        require_unchanged(source, before, VideoError)
    return CopyReport(video.end_s, before[0], copy.stat().st_size)


class _Video:
    """The kept frames of a video, as images of the copy; remembers what it gave.

    Raises:
        VideoError: When a damaged frame is reached.
    """

    def __init__(
        self, decoder: StreamDecoder, settings: CopySettings, progress: Callable[[float], None] | None
    ) -> None:
        self.decoder = decoder
        self.size = settings.size_of(decoder.height, decoder.width)
        self.times_s: list[float] = []
        self.num_read = 0
        self.end_s = 0.0
        self._fps = settings.fps
        self._progress = progress
        self._reformatter = VideoReformatter()
        self._swaps_sides = False

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width of one pixel as displayed, relative to its height; None where the video does not say."""
        aspect = self.decoder.pixel_aspect
        return 1 / aspect if aspect and self._swaps_sides else aspect

    @property
    def time_base(self) -> Fraction:
        """Unit of the copy's times in seconds: a unit of 1001/30000 s becomes 1001 of 1/30000 s, as mp4 wants it."""
        return Fraction(1, self.decoder.time_base.denominator)

    def images(self) -> Iterator[av.VideoFrame]:
        base = self.decoder.time_base
        for frame, is_kept in self._frames():
            if frame.image is None:
                raise damaged_frame_error(self.decoder.path, frame.pts_s, frame.pts_s)
            self.num_read += 1
            self.end_s = frame.end_s
            if is_kept:
                self.times_s.append(frame.pts_s)
                image = self._resized(frame.image)
                image.pts = round(frame.pts_s / base) * base.numerator
                image.time_base = self.time_base
                # Else the encoder makes a key frame of each that was one.
                image.pict_type = PictureType.NONE
                yield image
            if self._progress is not None:
                self._progress(self.end_s)

    def _frames(self) -> Iterator[tuple[DecodedFrame, bool]]:
        if self._fps is not None:
            return with_kept(self.decoder, self._fps)
        return ((frame, True) for frame in self.decoder.frames_from(0.0))

    def _resized(self, image: av.VideoFrame) -> av.VideoFrame:
        orientation = orientation_of(image)
        self._swaps_sides = orientation.swaps
        height, width = orientation.size(*self.size)
        small = self._reformatter.reformat(
            image, width=width, height=height, format="yuv420p", interpolation=Interpolation.BICUBIC, threads=1
        )
        if orientation.is_upright:
            return small
        turned = _turned(small, orientation)
        turned.color_range, turned.colorspace = small.color_range, small.colorspace
        turned.color_primaries, turned.color_trc = small.color_primaries, small.color_trc
        return turned


def _turned(image: av.VideoFrame, orientation: Orientation) -> av.VideoFrame:
    planes = image.to_ndarray().astype(np.uint8, copy=False)
    height, width = image.height, image.width
    luma, chroma = planes[:height], planes[height:].reshape(2, height // 2, width // 2)
    turned = [orientation.apply(plane) for plane in (luma, *chroma)]
    new_height, new_width = turned[0].shape
    stacked = np.concatenate([plane.reshape(-1) for plane in turned]).reshape(new_height * 3 // 2, new_width)
    return av.VideoFrame.from_ndarray(stacked, format="yuv420p")


class _Sink:
    """A file to which ffmpeg writes; it keeps the reason of a failure, of which ffmpeg tells nothing."""

    def __init__(self, file: BinaryIO) -> None:
        self.failure: BaseException | None = None
        self._file = file

    def write(self, content: bytes) -> int:
        try:
            return self._file.write(content)
        except BaseException as err:
            self.failure = err
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _encode(video: _Video, file: BinaryIO, settings: CopySettings, origin: str) -> None:
    sink = _Sink(file)
    stream: VideoStream | None = None
    held: av.Packet | None = None
    try:
        with av.open(sink, "w", format="mp4") as container:
            container.metadata["comment"] = origin
            for image in video.images():
                if stream is None:
                    stream = _stream(container, video, settings, image)
                for packet in stream.encode(image):
                    held = _mux(container, held, packet)
            assert stream is not None, "a video that opened has a frame"
            for packet in stream.encode():
                held = _mux(container, held, packet)
            assert held is not None, "an encoder gives a packet for each frame"
            held.duration = max(1, round(video.end_s / held.time_base) - (held.pts or 0))
            container.mux(held)
    except FFmpegError as err:
        if sink.failure is not None:
            raise sink.failure from err
        raise VideoError(f"{video.decoder.path}: its images cannot be encoded ({err}); encode it otherwise") from err


def _mux(container: OutputContainer, held: av.Packet | None, packet: av.Packet) -> av.Packet:
    """Write the packet before this one, whose frame is shown until this one begins."""
    if held is not None:
        held.duration = (packet.pts or 0) - (held.pts or 0)
        container.mux(held)
    return packet


def _stream(container: OutputContainer, video: _Video, settings: CopySettings, first: av.VideoFrame) -> VideoStream:
    preset, tune = _ENCODER.split()[1:]
    options = {
        "preset": preset,
        "tune": tune,
        "crf": str(settings.crf),
        "g": str(settings.gop),
        # Without B-frames every packet is an image of its own time, and a seek lands on it; they save 4 %.
        "bf": "0",
        "sc_threshold": "0",
    }
    fps = settings.fps if settings.fps is not None else video.decoder.fps
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
    assert isinstance(stream, VideoStream), "libx264 encodes images"
    context = stream.codec_context
    context.thread_count = 1
    stream.height, stream.width = video.size
    stream.pix_fmt = "yuv420p"
    context.time_base = video.time_base
    if video.pixel_aspect is not None:
        context.sample_aspect_ratio = video.pixel_aspect
    # The numbers in the image are kept, so what they mean has to be kept with them.
    context.color_range, context.color_trc = first.color_range, first.color_trc
    context.color_primaries = first.color_primaries
    # Of a video in RGB no matrix is known; swscale and the reader then take the same one.
    context.colorspace = _UNKNOWN_MATRIX if first.colorspace == _RGB_MATRIX else first.colorspace
    return stream


def copy_fault(copy: Path, times_s: list[float], size: tuple[int, int], gop: int) -> str | None:
    """Read a copy to its end; return how it differs from what was to be written, or None.

    `times_s` are the times of all frames, `size` is height and width, `gop` the largest distance of two key frames.
    """
    with closing(StreamDecoder(copy)) as decoder:
        if (decoder.height, decoder.width) != size:
            return f"is {decoder.height}x{decoder.width} instead of {size[0]}x{size[1]} pixels"
        num_since_key, num_frames = gop, 0
        for idx, frame in enumerate(decoder.frames_from(0.0)):
            num_frames += 1
            if frame.image is None:
                return f"cannot be decoded at {frame.pts_s:.3f} s"
            if idx >= len(times_s) or frame.pts_s != times_s[idx]:
                return f"has a frame at {frame.pts_s:.6f} s that is not in the video"
            num_since_key = 1 if frame.image.key_frame else num_since_key + 1
            if num_since_key > gop:
                return f"has more than {gop} frames from key frame to key frame at {frame.pts_s:.3f} s"
        if num_frames != len(times_s):
            return f"has {num_frames} instead of {len(times_s)} frames"
    return None


def _origin(source: Path, settings: CopySettings) -> dict[str, Any]:
    require_regular_file(source, VideoError)
    source_bytes, source_mtime_ns = state_of(source)
    of_source = {"source_bytes": source_bytes, "source_mtime_ns": source_mtime_ns}
    return {"format": _COPY_FORMAT, "encoder": _ENCODER, **asdict(settings), **of_source}
