"""From a film's plan to its frames: camera, light, hands, and the H.264 encoder.

Every frame is composed from sprites that were drawn once. During an action the camera rests on its place (with the
shake of a head); it moves to the next place only between actions, so it tells nothing earlier than the hands do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgear.kitchen.backdrop import PLACES, ROOM_HEIGHT, ROOM_WIDTH, RoomColours, draw_room
from sgear.kitchen.law import kitchen_law
from sgear.kitchen.scene import Hands, Moment, paste_action, paste_backdrop, place_of
from sgear.kitchen.world import KitchenWorld

STAGE_WIDTH, STAGE_HEIGHT = 384, 256
"""Size of the composed picture; other frame sizes are made from it."""
KEY_FRAME_DISTANCE = 30
"""Frames from one key frame to the next."""

_IDLE_PLACE = "board"
_SKINS = ((244, 204, 174), (224, 172, 134), (198, 138, 98), (150, 98, 66), (104, 66, 46))
_SLEEVES = ((70, 90, 160), (150, 60, 80), (60, 120, 110), (120, 120, 130), (190, 150, 70), (90, 70, 110))


class FilmRenderer:
    """Compose the frames of one film.

    Args:
        world: The world of the film.
        video_id: The film.
    """

    def __init__(self, world: KitchenWorld, video_id: str) -> None:
        film = world.film(video_id)
        self._config = world.config
        self._rng = np.random.default_rng(film.look_seed)
        cook = np.random.default_rng([world.config.seed, 1, int(film.participant_id[1:])])
        self._room = draw_room(RoomColours.drawn(cook), self._rng)
        self._hands = Hands.drawn(_SKINS[cook.integers(len(_SKINS))], _SLEEVES[cook.integers(len(_SLEEVES))])
        law = kitchen_law()
        self._pairs = [law.actions[segment.action] for segment in film.segments]
        self._starts_s = np.array([segment.start_s for segment in film.segments])
        self._stops_s = np.array([segment.stop_s for segment in film.segments])
        self._offsets = self._rng.uniform((-18, -10), (18, 10), (len(film.segments), 2))
        self.num_frames = round(film.duration_s * world.config.fps)
        times_s = np.arange(self.num_frames) / world.config.fps
        self._cameras = self._draw_camera(times_s)
        self._gains = self._draw_light(times_s)
        self._tint = self._rng.uniform(0.94, 1.06, 3)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield all frames in order, RGB."""
        return (self.frame(index) for index in range(self.num_frames))

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return one frame, RGB, [H W 3]."""
        now_s = index / self._config.fps
        left, top = self._cameras[index]
        picture = self._room.crop((left, top, left + STAGE_WIDTH, top + STAGE_HEIGHT))
        # Annotated times lie on a 0.01 s grid, frames on another: a tolerance keeps equal instants equal.
        current = int(np.searchsorted(self._starts_s, now_s + 1e-6, side="right")) - 1
        if current >= 0 and now_s < self._stops_s[current] - 1e-6:
            if current and place_of(*self._pairs[current - 1]) != place_of(*self._pairs[current]):
                self._leave(picture, current - 1, left, top)
            self._act(picture, current, now_s, left, top)
        else:
            if current >= 0:
                self._leave(picture, current, left, top)
            sway = 5 * math.sin(3 * now_s)
            self._hands.paste(picture, "left", "grip", STAGE_WIDTH / 2 - 120, STAGE_HEIGHT + 4 + sway)
            self._hands.paste(picture, "right", "grip", STAGE_WIDTH / 2 + 120, STAGE_HEIGHT + 4 - sway)
        size = (self._config.width, self._config.height)
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        return self._lit(picture, self._gains[index])

    def _lit(self, picture: Image.Image, gain: float) -> NDArray[np.uint8]:
        """Multiply by light and tint in fixed point; 7 bits of fraction keep the products within 16 bits."""
        factors = np.rint(128 * gain * self._tint).astype(np.uint16)
        rows = np.asarray(picture).reshape(picture.height, -1)
        light = np.multiply(rows, np.tile(factors, picture.width), dtype=np.uint16)
        light >>= 7
        np.minimum(light, 255, out=light)
        return light.astype(np.uint8).reshape(picture.height, picture.width, 3)

    def _act(self, picture: Image.Image, current: int, now_s: float, left: int, top: int) -> None:
        verb, noun = self._pairs[current]
        x, y = PLACES[place_of(verb, noun)]
        elapsed_s = now_s - self._starts_s[current]
        phase = elapsed_s / (self._stops_s[current] - self._starts_s[current])
        dx, dy = self._offsets[current]
        paste_action(picture, verb, Moment(noun, x - left, y - top, phase, elapsed_s, dx, dy), self._hands)

    def _leave(self, picture: Image.Image, earlier: int, left: int, top: int) -> None:
        verb, noun = self._pairs[earlier]
        x, y = PLACES[place_of(verb, noun)]
        if abs(x - left - STAGE_WIDTH / 2) < 400:
            paste_backdrop(picture, verb, noun, x - left, y - top)

    def _draw_camera(self, times_s: NDArray[np.float64]) -> list[tuple[int, int]]:
        targets = [PLACES[_IDLE_PLACE], *(PLACES[place_of(*pair)] for pair in self._pairs)]
        # Pairs of knots: the camera has arrived at a start, and leaves at the stop before it.
        leave_s = np.concatenate([[max(0.0, self._starts_s[0] - 0.4)], self._stops_s[:-1]])
        knots_s = np.stack([leave_s, self._starts_s], 1).ravel()
        rank = np.interp(times_s, knots_s, np.repeat(np.arange(len(targets)), 2)[1:-1])
        whole = np.floor(rank).astype(int)
        part = rank - whole
        eased = part * part * (3 - 2 * part)
        points = np.array(targets, dtype=np.float64)
        after = np.minimum(whole + 1, len(targets) - 1)
        centre = points[whole] + (points[after] - points[whole]) * eased[:, None]
        corner = centre + self._shake(times_s) - (STAGE_WIDTH / 2, STAGE_HEIGHT / 2)
        corner = np.clip(np.rint(corner), 0, (ROOM_WIDTH - STAGE_WIDTH, ROOM_HEIGHT - STAGE_HEIGHT))
        return [(int(x), int(y)) for x, y in corner]

    def _shake(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        shake = np.zeros((len(times_s), 2))
        for hertz, pixels in ((0.23, (7, 5)), (0.7, (4, 3)), (2.1, (1.5, 2.0))):
            phases = self._rng.uniform(0, 2 * np.pi, 2)
            shake += np.sin(2 * np.pi * hertz * times_s[:, None] + phases) * pixels
        return shake

    def _draw_light(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        drift = 0.06 * np.sin(2 * np.pi * times_s / self._rng.uniform(14, 30) + self._rng.uniform(0, 6))
        switches_s = np.cumsum(self._rng.uniform(8, 30, 2 + int(times_s[-1] / 8)))
        lamps = self._rng.choice((0.75, 0.9, 1.0, 1.12), len(switches_s) + 1)
        return (1.0 + drift) * lamps[np.searchsorted(switches_s, times_s)]


def render_film(world: KitchenWorld, video_id: str, path: Path) -> None:
    """Render one film to an H.264 mp4 file; the file appears only when it is complete.

    Args:
        world: The world of the film.
        video_id: The film.
        path: File to write; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
    renderer = FilmRenderer(world, video_id)
    try:
        with av.open(str(partial), "w") as container:
            stream = container.add_stream("libx264", rate=world.config.fps)
            stream.width, stream.height, stream.pix_fmt = world.config.width, world.config.height, "yuv420p"
            # One thread: several films are rendered at once, and the bytes must not depend on the machine's cores.
            stream.codec_context.thread_count = 1
            distance = KEY_FRAME_DISTANCE
            stream.options = {
                "preset": "ultrafast",
                "crf": "27",
                "x264-params": f"keyint={distance}:min-keyint={distance}:scenecut=0:bframes=0",
            }
            for picture in renderer.frames():
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
