"""From a video's plan to its frames and files: camera, light, hands, the H.264 encoder, and a kitchen on disk.

Every frame is composed from sprites that were drawn once. During an action the camera rests on its place (with the
shake of a head); it moves to the next place only between actions, so it tells nothing earlier than the hands do.

`kitchen.json` is written first and reserves the folder for one config. Videos appear under their names only when they
are complete, so an interrupted build goes on where it stopped and a complete one is reused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgear.datasets import Benchmark
from sgear.datasets.epic import load_epic100
from sgear.errors import ConfigError, VideoError
from sgear.files import replacing, write_whole
from sgear.kitchen.law import kitchen_law
from sgear.kitchen.recipes import LAW_VERSION
from sgear.kitchen.scene import Hands, Moment, paste_action, paste_backdrop, place_of
from sgear.kitchen.sprites import STEEL, Pen, draw_object, shaded
from sgear.kitchen.world import LOOK_VERSION, KitchenConfig, KitchenWorld, make_world, video_path, write_annotations
from sgear.workers import run_jobs

_STAGE_WIDTH, _STAGE_HEIGHT = 384, 256
"""Size of the composed image; other frame sizes are made from it."""
KEY_FRAME_DISTANCE = 30
"""Frames from one key frame to the next."""

_SKINS = ((244, 204, 174), (224, 172, 134), (198, 138, 98), (150, 98, 66), (104, 66, 46))
_SLEEVES = ((70, 90, 160), (150, 60, 80), (60, 120, 110), (120, 120, 130), (190, 150, 70), (90, 70, 110))
# Muted colours of the room, so that objects stand out.
_WALLS = ((206, 220, 222), (226, 214, 196), (198, 212, 196), (216, 204, 216), (190, 202, 220))
_COUNTERS = ((150, 140, 130), (112, 116, 124), (178, 160, 136), (134, 150, 150), (160, 150, 164))
_FRONTS = ((206, 198, 186), (158, 172, 184), (188, 166, 140), (172, 182, 160))
# The room is one wide image that the camera moves over. The middle of each place, in pixels:
_PLACES: dict[str, tuple[int, int]] = {
    "fridge": (210, 150),
    "shelf": (560, 140),
    "drawer": (560, 290),
    "board": (880, 165),
    "mat": (1150, 165),
    "sink": (1410, 155),
    "hob": (1660, 165),
}
_ROOM_WIDTH, _ROOM_HEIGHT = 1900, 430
_COUNTER_TOP, _COUNTER_EDGE = 118, 250


class VideoRenderer:
    """Compose the frames of one video of a world."""

    def __init__(self, world: KitchenWorld, video_id: str) -> None:
        video = world.video(video_id)
        self._config = world.config
        self._rng = np.random.default_rng(video.look_seed)
        cook = np.random.default_rng([world.config.seed, 1, int(video.participant_id[1:])])
        self._room = _draw_room(cook, self._rng)
        self._hands = Hands.drawn(_SKINS[cook.integers(len(_SKINS))], _SLEEVES[cook.integers(len(_SLEEVES))])
        law = kitchen_law()
        self._pairs = [law.actions[segment.action] for segment in video.segments]
        self._starts_s = np.array([segment.start_s for segment in video.segments])
        self._stops_s = np.array([segment.stop_s for segment in video.segments])
        self._offsets = self._rng.uniform((-18, -10), (18, 10), (len(video.segments), 2))
        self.num_frames = round(video.duration_s * world.config.fps)
        times_s = np.arange(self.num_frames) / world.config.fps
        self._cameras = self._draw_camera(times_s)
        self._gains = self._draw_light(times_s)
        self._tint = self._rng.uniform(0.94, 1.06, 3)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return one frame, RGB, [H W 3]."""
        now_s = index / self._config.fps
        left, top = self._cameras[index]
        image = self._room.crop((left, top, left + _STAGE_WIDTH, top + _STAGE_HEIGHT))
        # Annotated times lie on a 0.01 s grid, frames on another: a tolerance keeps equal instants equal.
        current = int(np.searchsorted(self._starts_s, now_s + 1e-6, side="right")) - 1
        if current >= 0 and now_s < self._stops_s[current] - 1e-6:
            if current and place_of(*self._pairs[current - 1]) != place_of(*self._pairs[current]):
                self._leave(image, current - 1, left, top)
            self._act(image, current, now_s, left, top)
        else:
            if current >= 0:
                self._leave(image, current, left, top)
            sway = 5 * math.sin(3 * now_s)
            self._hands.paste(image, "left", "grip", _STAGE_WIDTH / 2 - 120, _STAGE_HEIGHT + 4 + sway)
            self._hands.paste(image, "right", "grip", _STAGE_WIDTH / 2 + 120, _STAGE_HEIGHT + 4 - sway)
        size = (self._config.width, self._config.height)
        if image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return self._lit(image, self._gains[index])

    def _lit(self, image: Image.Image, gain: float) -> NDArray[np.uint8]:
        """Multiply by light and tint in fixed point; 7 bits of fraction keep the products within 16 bits."""
        factors = np.rint(128 * gain * self._tint).astype(np.uint16)
        rows = np.asarray(image).reshape(image.height, -1)
        light = np.multiply(rows, np.tile(factors, image.width), dtype=np.uint16)
        light >>= 7
        np.minimum(light, 255, out=light)
        return light.astype(np.uint8).reshape(image.height, image.width, 3)

    def _act(self, image: Image.Image, current: int, now_s: float, left: int, top: int) -> None:
        verb, noun = self._pairs[current]
        x, y = _PLACES[place_of(verb, noun)]
        elapsed_s = now_s - self._starts_s[current]
        phase = elapsed_s / (self._stops_s[current] - self._starts_s[current])
        dx, dy = self._offsets[current]
        paste_action(image, verb, Moment(noun, x - left, y - top, phase, elapsed_s, dx, dy), self._hands)

    def _leave(self, image: Image.Image, earlier: int, left: int, top: int) -> None:
        verb, noun = self._pairs[earlier]
        x, y = _PLACES[place_of(verb, noun)]
        if abs(x - left - _STAGE_WIDTH / 2) < 400:
            paste_backdrop(image, verb, noun, x - left, y - top)

    def _draw_camera(self, times_s: NDArray[np.float64]) -> list[tuple[int, int]]:
        targets = [_PLACES["board"], *(_PLACES[place_of(*pair)] for pair in self._pairs)]
        # Pairs of knots: the camera has arrived at a start, and leaves at the stop before it.
        leave_s = np.concatenate([[max(0.0, self._starts_s[0] - 0.4)], self._stops_s[:-1]])
        knots_s = np.stack([leave_s, self._starts_s], 1).ravel()
        rank = np.interp(times_s, knots_s, np.repeat(np.arange(len(targets)), 2)[1:-1])
        whole = np.floor(rank).astype(int)
        part = rank - whole
        eased = part * part * (3 - 2 * part)
        points = np.array(targets, dtype=np.float64)
        after = np.minimum(whole + 1, len(targets) - 1)
        center = points[whole] + (points[after] - points[whole]) * eased[:, None]
        corner = center + self._shake(times_s) - (_STAGE_WIDTH / 2, _STAGE_HEIGHT / 2)
        corner = np.clip(np.rint(corner), 0, (_ROOM_WIDTH - _STAGE_WIDTH, _ROOM_HEIGHT - _STAGE_HEIGHT))
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


def render_video(world: KitchenWorld, video_id: str, path: Path) -> None:
    """Render one video to an H.264 mp4 file; the file appears only when it is complete, its folder is made."""
    renderer = VideoRenderer(world, video_id)
    with replacing(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=world.config.fps)
        stream.width, stream.height, stream.pix_fmt = world.config.width, world.config.height, "yuv420p"
        # One thread: several videos are rendered at once, and the bytes must not depend on the machine's cores.
        stream.codec_context.thread_count = 1
        distance = KEY_FRAME_DISTANCE
        stream.options = {
            "preset": "ultrafast",
            "crf": "27",
            "x264-params": f"keyint={distance}:min-keyint={distance}:scenecut=0:bframes=0",
        }
        for index in range(renderer.num_frames):
            frame = av.VideoFrame.from_ndarray(renderer.frame(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def build_kitchen(
    root: Path,
    config: KitchenConfig,
    *,
    num_processes: int,
    progress: Callable[[int, int], None] | None = None,
    with_videos: bool = True,
) -> Benchmark:
    """Make a kitchen in a folder, or reuse what is already there.

    Args:
        root: Folder of this kitchen: new, empty, or of the same config.
        config: The world to make.
        num_processes: Videos that are rendered at the same time, >= 1.
        progress: Called with (videos done, videos in all), first for what was already there.
        with_videos: Render the videos; without them the kitchen has annotations and features only.

    Returns:
        The benchmark, read back by the loader of EPIC-KITCHENS-100.

    Raises:
        ValueError: If there are videos to render and `num_processes` is less than 1.
        ConfigError: If the folder holds another kitchen or other files.
        VideoError: If a process that renders is killed.
    """
    world = make_world(config)
    _reserve(root, world)
    write_annotations(world, root / "annotations")
    if with_videos:
        _render_missing(root, world, num_processes, progress or (lambda done, total: None))
    return replace(load_epic100(root / "annotations"), name="kitchen")


def _reserve(root: Path, world: KitchenWorld) -> None:
    """Write the record of a new kitchen, or check that the folder holds this very one."""
    config, path = asdict(world.config), root / "kitchen.json"
    versions = {"law_version": LAW_VERSION, "look_version": LOOK_VERSION}
    record = {"config": config, **versions, "digest": world.digest}
    if not path.exists():
        if root.exists() and any(root.iterdir()):
            raise ConfigError(f"{root} holds files that are not of a kitchen; choose a new or empty folder")
        write_whole(path, (json.dumps(record, indent=2) + "\n").encode())
        return
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as err:
        raise ConfigError(f"{path} is not valid JSON ({err}); delete the folder or choose another one") from err
    if found != record:
        different = [name for name in record if not isinstance(found, dict) or found.get(name) != record[name]]
        raise ConfigError(
            f"{root} holds another kitchen: {', '.join(different)} differ from what is asked for "
            f"({config}). Choose another folder, or delete this one."
        )


def _render_missing(root: Path, world: KitchenWorld, num_processes: int, progress: Callable[[int, int], None]) -> None:
    jobs = [(world, video.video_id, video_path(root, video)) for video in world.videos]
    jobs = [job for job in jobs if not job[-1].exists()]
    total = len(world.videos)
    progress(total - len(jobs), total)
    with closing(run_jobs(_render, jobs, num_workers=num_processes)) as results:
        for left, (idx, lost) in enumerate(results, start=1 - len(jobs)):
            if lost is not None:
                raise VideoError(f"{jobs[idx][-1]}: not rendered: {lost}. Run the command again.")
            progress(total + left, total)


def _render(job: tuple[KitchenWorld, str, Path], report: Callable[[float], None]) -> None:
    render_video(*job)


def _draw_room(cook: np.random.Generator, rng: np.random.Generator) -> Image.Image:
    """Draw the kitchen of a cook with a random set of distractors at the back of the counter, RGB."""
    wall, counter, front = (options[cook.integers(len(options))] for options in (_WALLS, _COUNTERS, _FRONTS))
    pen = Pen(_ROOM_WIDTH, _ROOM_HEIGHT)
    pen.box(0, 0, _ROOM_WIDTH, _ROOM_HEIGHT, wall, ink=0)
    grout = shaded(wall, 0.9)
    for y in range(20, _COUNTER_TOP, 34):
        pen.line([(0, y), (_ROOM_WIDTH, y)], grout, 2)
    for x in range(0, _ROOM_WIDTH, 44):
        pen.line([(x, 0), (x, _COUNTER_TOP)], grout, 2)
    pen.box(0, _COUNTER_TOP, _ROOM_WIDTH, _COUNTER_EDGE, counter, ink=0)
    pen.line([(0, _COUNTER_TOP + 4), (_ROOM_WIDTH, _COUNTER_TOP + 4)], shaded(counter, 0.7), 8)
    pen.box(0, _COUNTER_EDGE, _ROOM_WIDTH, _ROOM_HEIGHT, front, ink=0)
    pen.line([(0, _COUNTER_EDGE), (_ROOM_WIDTH, _COUNTER_EDGE)], shaded(counter, 1.2), 8)
    for x in range(400, _ROOM_WIDTH, 310):
        pen.box(x + 5, _COUNTER_EDGE + 14, x + 305, _ROOM_HEIGHT - 8, shaded(front, 0.94), r=6)
        pen.limb([(x + 120, _COUNTER_EDGE + 34), (x + 190, _COUNTER_EDGE + 34)], STEEL, 7)
    _fixtures(pen)
    room = pen.image().convert("RGB")
    nouns = rng.permutation(("cup", "glass", "bowl", "pot", "onion", "bread", "milk", "juice", "tomato"))[:6]
    for x, noun in zip((740, 1010, 1040, 1270, 1540, 1800), nouns, strict=True):
        draw_object(str(noun), 0.42).paste_on(room, x + int(rng.integers(-14, 14)), _COUNTER_TOP + 6)
    return room


def _fixtures(pen: Pen) -> None:
    pen.box(40, -10, 380, _ROOM_HEIGHT + 10, (224, 230, 236), r=10)
    pen.line([(42, 250), (378, 250)], (150, 160, 170), 4)
    pen.limb([(350, 120), (350, 220)], STEEL, 8)
    x, y = _PLACES["shelf"]
    pen.box(x - 160, y - 150, x + 160, y - 26, (150, 100, 60), r=4)
    pen.box(x - 2, y - 148, x + 2, y - 28, (100, 66, 40), ink=0)
    pen.ellipse(x - 14, y - 60, 5, 5, STEEL)
    pen.ellipse(x + 14, y - 60, 5, 5, STEEL)
    x, y = _PLACES["sink"]
    pen.box(x - 150, y - 22, x + 150, y + 88, (214, 220, 226), r=20)
    pen.box(x - 138, y - 12, x + 138, y + 80, (146, 156, 166), r=16, ink=0)
    pen.limb([(x, y - 34), (x, y - 100), (x + 6, y - 108), (x + 26, y - 108)], STEEL, 13)
    pen.limb([(x, y - 36), (x, y - 92)], STEEL, 13)
    x, y = _PLACES["hob"]
    pen.box(x - 140, y - 36, x + 140, y + 78, (44, 46, 52), r=10)
    for dx in (-72, 72):
        pen.ellipse(x + dx, y + 20, 54, 34, (92, 60, 56))
        pen.ellipse(x + dx, y + 20, 38, 23, (44, 46, 52), 0)
