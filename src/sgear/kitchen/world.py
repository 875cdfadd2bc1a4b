"""A world of kitchen videos: who cooks, when each action happens, and its annotations as those of EPIC-KITCHENS-100.

Everything here is drawn from the seed alone. Durations, gaps, colours, lights and camera are independent of which
action comes next, so the past actions carry all there is to know and the Bayes ceiling of `KitchenLaw` is exact.
Times lie on the 0.01 s grid of the EPIC-KITCHENS-100 timestamps. Class ids are positions in the law's lists of verbs
and nouns. Tail classes follow the rule of EPIC-KITCHENS-100: the rarest classes that together hold at most a fifth of
the training segments.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.datasets import DatasetSpec, Places, TextRules
from sgear.datasets.epic import load_epic100
from sgear.errors import ConfigError
from sgear.features import FeatureTable, VideoFeatures
from sgear.files import quoted, write_whole
from sgear.kitchen.law import kitchen_law
from sgear.kitchen.recipes import LAW_VERSION, NOUNS, VERBS

TAU_A_S = 1.0
"""Anticipation time the videos are made for, in seconds."""
MIN_VISIBLE_S = 0.25
"""How long each action is at least on screen until `TAU_A_S` before the next one starts, in seconds."""
LOOK_VERSION = 1
"""Raised whenever the images change: old videos then no longer look like new ones."""

_MIN_DURATION_CS, _MAX_DURATION_CS = 105, 260
_MIN_GAP_CS, _MAX_GAP_CS = 20, 70
_LEAD_IN_CS, _LEAD_OUT_CS = 160, 60
_TAIL_SHARE = 0.2
# In the order of VERBS and NOUNS.
_VERB_CATEGORIES = ("retrieve", "leave", "access", "block", "clean", "clean", "split", "split", "merge", "merge")
_NOUN_CATEGORIES = (
    *("appliances", "storage", "cutlery", "cutlery", "crockery", "crockery", "crockery", "crockery"),
    *("cookware", "cookware", "vegetables", "vegetables", "vegetables", "baked goods and grains"),
    *("dairy and eggs", "drinks"),
)


@dataclass(frozen=True, kw_only=True)
class KitchenConfig:
    """What a kitchen world consists of.

    Args:
        seed: Seed of everything, >= 0.
        num_train_videos: Videos of the training split.
        num_validation_videos: Videos of the validation split; every second one shows an unseen participant.
        num_participants: Participants in all, at most 99.
        num_unseen_participants: How many of them occur in validation only.
        actions_per_video: Actions of each video; it spans several recipes, and the last one is cut off.
        height: Height of the frames in pixels, even.
        width: Width of the frames in pixels, even.
        fps: Frames per second.

    Raises:
        ConfigError: If a value is out of range or the splits cannot be filled.
    """

    seed: int = 0
    num_train_videos: int = 24
    num_validation_videos: int = 8
    num_participants: int = 10
    num_unseen_participants: int = 2
    actions_per_video: int = 45
    height: int = 256
    width: int = 384
    fps: int = 30

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")
        for name in ("num_train_videos", "num_validation_videos", "actions_per_video", "fps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("height", "width"):
            value = getattr(self, name)
            if value < 32 or value % 2:
                raise ConfigError(f"{name} must be even and at least 32, got {value}")
        if not 0 <= self.num_unseen_participants < self.num_participants <= 99:
            raise ConfigError(
                f"need 0 <= num_unseen_participants < num_participants <= 99, got "
                f"{self.num_unseen_participants} and {self.num_participants}"
            )
        if self.num_unseen_participants and self.num_validation_videos < 2:
            raise ConfigError(
                f"{self.num_unseen_participants} unseen participants need at least 2 validation videos, one unseen and "
                f"one seen, got num_validation_videos={self.num_validation_videos}"
            )


@dataclass(frozen=True)
class KitchenSegment:
    """One action of a video, `[start_s, stop_s)`; `action` is an id of the law."""

    start_s: float
    stop_s: float
    action: int


@dataclass(frozen=True)
class KitchenVideo:
    """One video: its cook, its length and its actions in order."""

    video_id: str
    participant_id: str
    is_train: bool
    duration_s: float
    segments: tuple[KitchenSegment, ...]
    look_seed: int


@dataclass(frozen=True)
class KitchenWorld:
    """All videos of one config; `digest` identifies their content."""

    config: KitchenConfig
    videos: tuple[KitchenVideo, ...]
    unseen_participants: tuple[str, ...]

    def video(self, video_id: str) -> KitchenVideo:
        """Return the video of that id.

        Raises:
            ValueError: If the world has no such video.
        """
        for video in self.videos:
            if video.video_id == video_id:
                return video
        raise ValueError(f"no video {video_id!r} in this kitchen; it has {[video.video_id for video in self.videos]}")

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of config, versions and all videos."""
        content = [LAW_VERSION, LOOK_VERSION, asdict(self.config), [asdict(video) for video in self.videos]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def make_world(config: KitchenConfig) -> KitchenWorld:
    """Draw the videos of a world; the same config gives the same world everywhere."""
    num_seen = config.num_participants - config.num_unseen_participants
    names = [f"P{number:02d}" for number in range(1, config.num_participants + 1)]
    seen, unseen = names[:num_seen], names[num_seen:]
    # Validation cooks take turns so that both subsets are filled; only cooks with training videos count as seen.
    trained = seen[: config.num_train_videos]
    cooks = [seen[i % num_seen] for i in range(config.num_train_videos)]
    for i in range(config.num_validation_videos):
        group = unseen if unseen and i % 2 else trained
        cooks.append(group[(i // 2 if unseen else i) % len(group)])

    videos = []
    takes: dict[str, int] = {}
    for index, cook in enumerate(cooks):
        takes[cook] = takes.get(cook, 0) + 1
        rng = np.random.default_rng([config.seed, 0, index])
        segments = _draw_segments(config.actions_per_video, rng)
        videos.append(
            KitchenVideo(
                video_id=f"{cook}_{takes[cook]:02d}",
                participant_id=cook,
                is_train=index < config.num_train_videos,
                duration_s=float(math.ceil(segments[-1].stop_s + _LEAD_OUT_CS / 100)),
                segments=segments,
                look_seed=int(rng.integers(2**31)),
            )
        )
    shown = {video.participant_id for video in videos}
    return KitchenWorld(config, tuple(videos), tuple(name for name in unseen if name in shown))


def _draw_segments(num_actions: int, rng: np.random.Generator) -> tuple[KitchenSegment, ...]:
    """Draw actions by the law, and their times independently of them; the first starts after `_LEAD_IN_CS`."""
    actions = kitchen_law().sample_video(num_actions, rng)
    durations = _MIN_DURATION_CS + (_MAX_DURATION_CS - _MIN_DURATION_CS) * rng.beta(1.0, 3.6, num_actions)
    gaps = _MIN_GAP_CS + (_MAX_GAP_CS - _MIN_GAP_CS) * rng.beta(1.2, 3.0, num_actions)
    now_cs = _LEAD_IN_CS
    segments: list[KitchenSegment] = []
    for action, duration, gap in zip(actions, np.rint(durations).astype(int), np.rint(gaps).astype(int), strict=True):
        stop_cs = now_cs + int(duration)
        segments.append(KitchenSegment(now_cs / 100, stop_cs / 100, action))
        now_cs = stop_cs + int(gap)
    for before, after in pairwise(segments):
        visible_s = after.start_s - TAU_A_S - before.start_s
        assert visible_s >= MIN_VISIBLE_S - 1e-9, f"{before} is visible for only {visible_s} s before {after}"
    return tuple(segments)


def step_features(
    world: KitchenWorld, video_id: str, *, fps: float = 4.0, dim: int = 64, noise: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the features of one video at regular instants, the first at 0 s.

    Args:
        world: The world of the video.
        video_id: The video.
        fps: Instants per second, > 0.
        dim: Width F of the features, >= 1.
        noise: Length of the noise vectors relative to the vectors of actions, about, >= 0.

    Returns:
        Instants in seconds, [N], and features, [N F].

    Raises:
        ValueError: If the video is unknown or a setting is out of range.
    """
    if not fps > 0 or dim < 1 or not noise >= 0:
        raise ValueError(f"need fps > 0, dim >= 1 and noise >= 0, got {fps}, {dim} and {noise}")
    video = world.video(video_id)
    codes = np.random.default_rng([world.config.seed, 2]).standard_normal((len(VERBS) + len(NOUNS), dim))
    codes /= np.sqrt(2) * np.linalg.norm(codes, axis=1, keepdims=True)
    actions = kitchen_law().actions
    of_action = np.stack([codes[VERBS.index(verb)] + codes[len(VERBS) + NOUNS.index(noun)] for verb, noun in actions])

    times_s = np.arange(int(video.duration_s * fps)) / fps
    starts_s = np.array([segment.start_s for segment in video.segments])
    stops_s = np.array([segment.stop_s for segment in video.segments])
    current = np.searchsorted(starts_s, times_s + 1e-6, side="right") - 1
    is_shown = (current >= 0) & (times_s < stops_s[np.maximum(current, 0)] - 1e-6)
    shown = np.array([video.segments[index].action for index in current[is_shown]], dtype=np.int64)

    features = np.random.default_rng([video.look_seed, 3]).standard_normal((len(times_s), dim)) * noise / np.sqrt(dim)
    features[is_shown] += of_action[shown]
    return times_s, features.astype(np.float32)


def video_path(root: Path, video: KitchenVideo) -> Path:
    """Return where a video of a built kitchen lies."""
    return root / "videos" / video.participant_id / f"{video.video_id}.mp4"


def read_config(root: Path) -> KitchenConfig:
    """Return the config of the kitchen in a folder.

    Raises:
        ConfigError: If the folder holds no kitchen, or one of another version.
    """
    path = root / "kitchen.json"
    if not path.is_file():
        raise ConfigError(f"{root}: no kitchen there; make one with: sgear data kitchen {quoted(root)}")
    try:
        record = json.loads(path.read_text())
        return KitchenConfig(**record["config"])
    except (ValueError, KeyError, TypeError) as err:
        raise ConfigError(f"{path}: not a record of this version's kitchens ({err}); make it again") from err


def load_kitchen_features(root: Path) -> FeatureTable:
    """Return features of all videos of the kitchen in a folder; they are made, not read, in well under a second.

    Raises:
        ConfigError: If the folder holds no kitchen.
    """
    world = make_world(read_config(root))
    names = [video.video_id for video in world.videos]
    return FeatureTable({name: VideoFeatures(*step_features(world, name), f"{root}, video {name}") for name in names})


def write_annotations(world: KitchenWorld, folder: Path) -> None:
    """Write all annotation files of a world into a folder, which is made; existing ones are replaced.

    Source:
        Columns and file names of the EPIC-KITCHENS-100 annotations, github.com/epic-kitchens.
    """
    config = world.config
    tables = {part: _segment_rows(world, is_train=part == "train") for part in ("train", "validation")}
    for kind, names, categories in (("verb", VERBS, _VERB_CATEGORIES), ("noun", NOUNS, _NOUN_CATEGORIES)):
        instances = [f"['{name}']" for name in names]
        tables[f"{kind}_classes"] = pl.DataFrame(
            {"id": range(len(names)), "key": names, "instances": instances, "category": categories}
        )
        tail = _tail_of(tables["train"][f"{kind}_class"].to_numpy(), len(names))
        tables[f"tail_{kind}s"] = pl.DataFrame({kind: tail}, schema={kind: pl.Int64})
    tables |= {
        "unseen_participant_ids_validation": pl.DataFrame(
            {"participant_id": list(world.unseen_participants)}, schema={"participant_id": pl.String}
        ),
        "video_info": pl.DataFrame(
            {
                "video_id": [video.video_id for video in world.videos],
                "duration": [video.duration_s for video in world.videos],
                "fps": float(config.fps),
                "resolution": f"{config.width}x{config.height}",
            }
        ),
    }
    for name, table in tables.items():
        write_whole(folder / f"EPIC_100_{name}.csv", table.write_csv().encode())


def _segment_rows(world: KitchenWorld, *, is_train: bool) -> pl.DataFrame:
    rows = []
    videos = [video for video in world.videos if video.is_train == is_train]
    for video in sorted(videos, key=lambda video: video.video_id):
        for index, segment in enumerate(video.segments):
            verb, noun = kitchen_law().actions[segment.action]
            noun_id = NOUNS.index(noun)
            rows.append(
                {
                    "narration_id": f"{video.video_id}_{index}",
                    "participant_id": video.participant_id,
                    "video_id": video.video_id,
                    "narration_timestamp": _timestamp(segment.start_s, digits=3),
                    "start_timestamp": _timestamp(segment.start_s, digits=2),
                    "stop_timestamp": _timestamp(segment.stop_s, digits=2),
                    "start_frame": math.floor(segment.start_s * world.config.fps),
                    "stop_frame": math.floor(segment.stop_s * world.config.fps),
                    "narration": f"{verb} {noun}",
                    "verb": verb,
                    "verb_class": VERBS.index(verb),
                    "noun": noun,
                    "noun_class": noun_id,
                    "all_nouns": f"['{noun}']",
                    "all_noun_classes": f"[{noun_id}]",
                }
            )
    return pl.DataFrame(rows)


def _timestamp(time_s: float, *, digits: int) -> str:
    units = round(time_s * 10**digits)
    seconds, fraction = divmod(units, 10**digits)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:0{digits}d}"


def _tail_of(classes: NDArray[np.int64], num_classes: int) -> list[int]:
    counts = np.bincount(classes, minlength=num_classes)
    rarest_first = np.argsort(counts, kind="stable")
    is_tail = np.cumsum(counts[rarest_first]) <= _TAIL_SHARE * counts.sum()
    return sorted(rarest_first[is_tail].tolist())


DATASET = DatasetSpec(
    name="kitchen",
    load=lambda folder, split, level: replace(load_epic100(folder), name="kitchen"),
    places=Places(
        annotations=("kitchen/annotations",),
        holds="EPIC_100_verb_classes.csv",
        inner=("annotations",),
        source="'sgear data kitchen FOLDER', which renders one",
    ),
    corpus=None,
    whole_videos=False,
    text_rules=TextRules(),
    headline="recall5",
    own_features={"oracle": lambda folder, split: load_kitchen_features(folder)},
)
