"""Windows of 15 steps at 1 fps from films, and a loader that feeds an encoder: ratios for `benchmarks/data.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from data_films import HEIGHT, WIDTH, make_film
from data_ratios import Ratio, compare, in_turns
from numpy.typing import NDArray

from sgear.video.frames import FrameConverter
from sgear.video.pool import FilmPool

SECONDS, STEPS = 60, 15
NUM_WINDOWS = 12
SHORT_GOP = 15
Convert = Callable[[av.VideoFrame], NDArray[np.uint8]]


def draw_ends() -> list[float]:
    """Return where windows end, anywhere in the film, in no order."""
    return np.random.default_rng(2).uniform(STEPS, SECONDS - 1, NUM_WINDOWS).tolist()


def every_frame(path: Path, end_s: float, fps: int, convert: Convert) -> NDArray[np.uint8]:
    """Decode and convert all frames of the window, then keep 15 of them.

    Source:
        ADiko1997/S-GEAR datasets/base_video_dataset.py, which reads the whole window by torchvision's `read_video`: a
        seek to the key frame before, every frame after it decoded, made an RGB array by `to_rgb`, and stacked.
    """
    with av.open(str(path)) as container:
        film = container.streams.video[0]
        film.codec_context.thread_count = 1
        assert film.time_base is not None
        begin_s = end_s - STEPS
        container.seek(int(begin_s / film.time_base), stream=film)
        pictures = []
        for frame in container.decode(film):
            assert frame.time is not None
            if frame.time > end_s:
                break
            if frame.time > begin_s:
                pictures.append(convert(frame))
    return np.stack(pictures)[fps - 1 :: fps]


def to_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Convert a frame as torchvision does: the conversion is set up anew for each."""
    return frame.to_rgb().to_ndarray()


def played_at(pool: FilmPool, name: str, end_s: float) -> object:
    """Read the 15 frames and no others."""
    return pool.frames_played_at(name, end_s - np.arange(STEPS - 1, -1, -1.0))


def video_ratios(folder: Path, *, rounds: int) -> list[Ratio]:
    """Compare the 15 frames of a window with all frames of it, at 30 and 60 fps, for both key-frame distances."""
    ends = draw_ends()
    ratios = []
    for fps, factor in ((30, 1), (60, 2)):
        films = {
            name: make_film(folder / f"{name}-{fps}.mp4", seconds=SECONDS, fps=fps, key_distance=distance)
            for name, distance in (("original", 250), ("short", SHORT_GOP))
        }
        pool = FilmPool(films)

        def all_frames(convert: Convert, path: Path = films["original"], fps: int = fps) -> Callable[[], None]:
            def read() -> None:
                for end_s in ends:
                    every_frame(path, end_s, fps, convert)

            return read

        def ours(name: str, pool: FilmPool = pool) -> Callable[[], None]:
            def read() -> None:
                for end_s in ends:
                    played_at(pool, name, end_s)

            return read

        ways: dict[str, tuple[Callable[[], object], int]] = {
            "released": (all_frames(to_rgb), len(ends)),
            "strict": (all_frames(FrameConverter(HEIGHT, WIDTH)), len(ends)),
            **{name: (ours(name), len(ends)) for name in films},
        }
        taken = in_turns(ways, rounds=rounds)
        ratios += [
            compare(
                f"15 frames of 15 s at {fps} fps, key frames 250 apart, against all of them as released",
                taken["original"],
                taken["released"],
                target=2.0 * factor,
            ),
            compare(
                f"the same on a copy with key frames {SHORT_GOP} apart",
                taken["short"],
                taken["released"],
                target=3.5 * factor,
            ),
            compare("original, against all with one conversion set up once", taken["original"], taken["strict"]),
            compare("copy, against the same", taken["short"], taken["strict"]),
        ]
    return ratios
