"""Open a video file at its pictures, or say why that cannot be done."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from sgear.errors import VideoError
from sgear.files import require_regular_file
from sgear.video.stills import MAX_PIXELS, require_bearable

# ffmpeg probes a file by decoding from it, so the limit must be known before anything is opened. A file may name
# other files or addresses (playlists do); none but itself is read.
_CODEC_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
_FILE_OPTIONS = {"protocol_whitelist": "file"}
_OPEN_OPTIONS = {**_CODEC_OPTIONS, **_FILE_OPTIONS}
_NO_DECODER = {"codec_whitelist": "none"}
END_OF_PACKETS = (FFmpegError, IndexError)
"""Errors with which demuxing ends where no more can be read: ffmpeg's own, and PyAV's where damage looks like further
streams, over which it stumbles when all packets have come."""
_PLAYLISTS = ("hls", "dash", "concat", "imf", "sdp")


def open_stream(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file at the video track that players show, with one decoding thread.

    It is the one marked as the default; of several of these, or where there is none, the one with most pixels; of equal
    ones the first. Pictures that are attached, such as covers, are none.

    Raises:
        VideoError: If the file is missing, unreadable, empty or not a video.
    """
    require_regular_file(path, VideoError)
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes), its copy or download failed; fetch it again")
    try:
        container = _open(path, _OPEN_OPTIONS)
    except PermissionError as err:
        raise _closed_to_us(path, err) from err
    except (FFmpegError, ValueError) as err:
        # The error's own text begins with a number of ffmpeg's and ends with the path.
        reason = err.strerror if isinstance(err, FFmpegError) else err
        raise VideoError(
            f"{path}: not a readable video ({reason}); "
            "it is of another format, or truncated before its index: fetch it again"
        ) from err
    try:
        film = _film_stream(path, container)
        require_bearable(film.codec_context.height, film.codec_context.width, path)
    except BaseException:
        container.close()
        raise
    # With one thread an error belongs to the packet just sent; more threads also lose damage marks.
    film.codec_context.thread_count = 1
    # The decoder of hevc marks no damaged picture, but it can refuse one.
    is_unmarked = film.codec_context.name == "hevc"
    film.codec_context.options = {**_CODEC_OPTIONS, **({"err_detect": "explode"} if is_unmarked else {})}
    return container, film


def unread_tracks(path: Path) -> str | None:
    """Return which of several video tracks is read and which are not, to be mentioned once; None where there is one.

    Raises:
        VideoError: If the file is missing, unreadable, empty or not a video.
    """
    container, film = open_stream(path)
    with container:
        tracks = _real_tracks(container)
        if len(tracks) == 1:
            return None
        sizes = [f"track {track.index} ({track.codec_context.width}x{track.codec_context.height})" for track in tracks]
        read = sizes.pop(tracks.index(film))
    return f"it has several video tracks: {read} is read, as ffmpeg and players choose, and not {', '.join(sizes)}"


def stated_size(path: Path) -> tuple[int, int]:
    """Return height and width as the header states them, decoding nothing; zeros where it does not.

    Where pictures are larger than the limit, an opened stream does not tell how large.

    Raises:
        VideoError: If the file cannot be opened.
    """
    try:
        with _open(path, {**_FILE_OPTIONS, **_NO_DECODER}) as container:
            film = _film_stream(path, container)
            return film.codec_context.height, film.codec_context.width
    except (FFmpegError, ValueError) as err:
        raise VideoError(f"{path}: not a readable video ({err}); fetch it again") from err


def _open(path: Path, options: dict[str, str]) -> InputContainer:
    # With the prefix, a colon in a file name is not taken for the end of a protocol.
    return av.open(f"file:{path}", metadata_errors="ignore", options=options)


def _closed_to_us(path: Path, err: OSError) -> VideoError:
    return VideoError(
        f"{path}: the file cannot be read ({err.strerror}); check its permissions and those of its folders"
    )


def _film_stream(path: Path, container: InputContainer) -> VideoStream:
    name = container.format.name
    if name.endswith("_pipe") or name == "image2":
        raise VideoError(
            f"{path}: a single picture ({name.removesuffix('_pipe')}), not a video; a film made of pictures is "
            "given by their folder or their tar file"
        )
    if name in _PLAYLISTS:
        raise VideoError(f"{path}: a list of other files ({name}), not a video; give the video itself")
    films = _real_tracks(container)
    if not films or name == "tty":
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise VideoError(f"{path}: no video stream (streams: {kinds}); give the file that holds the pictures")
    if any(film.codec_context is None for film in films):
        raise VideoError(f"{path}: how its pictures are coded is not known; it is damaged, or encode it otherwise")
    # Players choose by the same rule: a small preview may come first.
    return max(films, key=lambda film: (bool(film.disposition & Disposition.default), _num_pixels(film)))


def _real_tracks(container: InputContainer) -> list[VideoStream]:
    # Covers of audio files are video streams to ffmpeg, and so is any text to its terminal player.
    return [film for film in container.streams.video if not film.disposition & Disposition.attached_pic]


def _num_pixels(film: VideoStream) -> int:
    return film.codec_context.height * film.codec_context.width
